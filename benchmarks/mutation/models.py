"""Cases that read models and configurations: checkpoints, exported encoders, TOML and settings."""

from __future__ import annotations

import dataclasses
import io
import json
import random
import zipfile
from pathlib import Path
from typing import Any

import onnx
import torch
from sparcode_es_cli.train import parse_setting

from mutation.mutate import HUGE, WORDS, hostile_value, json_bytes, mutate_bytes, mutate_text
from sparcode_es.config import Config, from_mapping, load_config, parse_toml, preset_names, to_mapping, to_toml
from sparcode_es.serving.encoder import HistoryEncoder
from sparcode_es.serving.exported import DIGEST, HEADER, ExportedEncoder, sealed
from sparcode_es.training.checkpoint import read_checkpoint

SEAL = len(DIGEST) + 64
"""Bytes of an exported encoder's digest."""


def checkpoint(rng: random.Random, seeds: Path, work: Path) -> None:
    """A checkpoint: raw bytes, entries of the archive with checksums that hold, the header's JSON, the tensors."""
    content = (seeds / "model.pt").read_bytes()
    kind = rng.randrange(5)
    if kind == 0:
        content = mutate_bytes(rng, content)
    elif kind == 1:
        content = _rezipped(rng, content)
    else:
        content = _resaved(rng, content, kind)
    path = work / "model.pt"
    path.write_bytes(content)
    found = read_checkpoint(path)
    if rng.random() < 0.5 and found.model.num_items:
        HistoryEncoder.from_checkpoint(path)([found.item_ids[0], found.item_ids[len(found.item_ids) - 1]])


def _rezipped(rng: random.Random, content: bytes) -> bytes:
    """The archive again, one entry damaged, doubled, dropped, renamed or packed, with the right CRC-32."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w") as new:
        names = old.namelist()
        chosen, change = (
            rng.choice((rng.choice(names), next(n for n in names if n.endswith("data.pkl")))),
            rng.randrange(5),
        )
        for name in names:
            data = old.read(name)
            if name == chosen and change == 0:
                continue
            if name == chosen and change in (1, 2):
                data = mutate_bytes(rng, data)
            method = zipfile.ZIP_DEFLATED if name == chosen and change == 3 else zipfile.ZIP_STORED
            if name == chosen and change == 3:
                data = b"\0" * rng.choice((len(data), 1 << 26))
            new.writestr(name if name != chosen or change != 4 else f"{name}x", data, method)
    return out.getvalue()


def _resaved(rng: random.Random, content: bytes, kind: int) -> bytes:
    """The checkpoint's dictionary saved again, with another header or other tensors."""
    found = torch.load(io.BytesIO(content), weights_only=True)
    if kind == 2:
        found["header"] = json_bytes(rng, json.loads(found["header"])).decode("utf-8", "replace")
    elif kind == 3:
        header = json.loads(found["header"])
        tables = [header["config"][name] for name in ("tokenizer", "quantizer", "scorer", "item_codes", "training")]
        table = rng.choice([*tables, header])
        key = rng.choice(list(table))
        table[key] = rng.choice((*HUGE, 10**5, 10**7, 0.5, "gru", [10**9], [[]], None))
        found["header"] = json.dumps(header)
    else:
        name = rng.choice(list(found["model"]))
        found["model"][name] = _hostile_tensor(rng, found["model"][name])
        if rng.random() < 0.3:
            found[rng.choice(list(found))] = hostile_value(rng)
    out = io.BytesIO()
    torch.save(found, out)
    return out.getvalue()


def _hostile_tensor(rng: random.Random, tensor: torch.Tensor) -> Any:
    return rng.choice((
        lambda: tensor.new_full(tensor.shape, float("nan") if tensor.is_floating_point() else -1),
        lambda: tensor.new_full(tensor.shape, 1 << 30), lambda: tensor.flip(0) if tensor.dim() else tensor,
        lambda: torch.zeros(1).expand(1 << 30), lambda: torch.zeros(()), lambda: tensor.to(torch.complex64), lambda: None,
        lambda: tensor.to_sparse() if tensor.dim() else tensor, lambda: tensor.unsqueeze(0), lambda: "text",
    ))()  # fmt: skip


def encoder(rng: random.Random, seeds: Path, work: Path) -> None:
    """An exported encoder: raw bytes, bytes with a digest that holds, metadata."""
    content = (seeds / "encoder.onnx").read_bytes()
    kind = rng.randrange(4)
    if kind == 0:
        content = mutate_bytes(rng, content)
    elif kind == 1:
        content = sealed(mutate_bytes(rng, content[:-SEAL]))
    else:
        model = onnx.load_from_string(content[:-SEAL])
        if kind == 2:
            entry = next(each for each in model.metadata_props if each.key == HEADER)
            entry.value = json_bytes(rng, json.loads(entry.value)).decode("utf-8", "replace")
        else:
            tensor = rng.choice(list(model.graph.initializer))
            if rng.random() < 0.5 and tensor.dims:
                tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice((0, 1, -1, 2**31, 2**40, 7))
            else:
                tensor.raw_data = mutate_bytes(rng, tensor.raw_data)
        content = sealed(model.SerializeToString())
    path = work / "encoder.onnx"
    path.write_bytes(content)
    ExportedEncoder.open(path)(["1", "2", "3"])


def configuration(rng: random.Random, seeds: Path, work: Path) -> None:
    """A TOML file and settings; what is accepted is written as TOML and read again as the same."""
    path, overrides = None, {}
    if rng.random() < 0.6:
        path = work / "config.toml"
        path.write_bytes(mutate_text(rng, (seeds / "run" / "config.toml").read_bytes()))
    for _ in range(rng.randint(0, 3)):
        key, value = parse_setting(f"{_key(rng)}{rng.choice(('=', '=', '==', ''))}{_setting(rng)}")
        overrides[key] = value
    config = load_config(path, rng.choice((None, *preset_names())), overrides)
    again = from_mapping(Config, parse_toml(to_toml(config)))
    assert to_mapping(again) == to_mapping(config) or "nan" in to_toml(config)


def _key(rng: random.Random) -> str:
    table = rng.choice(dataclasses.fields(Config))
    parts = [table.name]
    if dataclasses.is_dataclass(table.default_factory):
        parts.append(rng.choice(dataclasses.fields(table.default_factory)).name)
    return rng.choice((".".join(parts), ".".join(parts), parts[0], "", ".", "..a", "a." * 2000, parts[0] + ".x"))


def _setting(rng: random.Random) -> str:
    word = rng.choice(WORDS).decode("latin-1")
    return str(
        rng.choice((1, 0, -1, "true", '"x"', "[1, 2]", "nan", "inf", "1e400", "{a = 1}", *HUGE, word, "1979-05-27"))
    )
