"""Invariants of readers that hypothesis looks for holes in."""

from __future__ import annotations

import contextlib
import gzip
import io
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sparcode_es_cli.train import parse_setting

from sparcode_es.config import Config, from_mapping, load_config, parse_toml, to_mapping, to_toml
from sparcode_es.data.importer import ImportOptions, read_log
from sparcode_es.data.side import read_side
from sparcode_es.data.vectors import batches
from sparcode_es.errors import CheckpointError, ConfigError, DataError, SparcodeError
from sparcode_es.files import parse_json
from sparcode_es.training.checkpoint import load_tensors, read_checkpoint

ANY = settings(max_examples=80, suppress_health_check=list(HealthCheck))


@ANY
@example(content=b"\x1c", name="a.txt")
@example(content=b"1\t\t\t2\n1\t\t\t2\n", name="a.txt")
@example(content="1\t2\t3\t²\n".encode() * 2, name="a.txt")
@example(content=b"1 2 --3\n" * 2, name="a.txt")
@given(
    content=st.binary(max_size=400),
    name=st.sampled_from(["a.csv", "a.tsv", "a.txt", "a.dat", "a.parquet", "a.gz", "a.zip"]),
)
def test_any_bytes_are_a_log_or_a_sentence(tmp_path: Path, content: bytes, name: str) -> None:
    (tmp_path / name).write_bytes(content)
    with contextlib.suppress(DataError):
        read_log(tmp_path / name, ImportOptions(skip_bad_rows=True))


@ANY
@given(text=st.text(max_size=60))
def test_any_setting_is_a_value_or_a_sentence(text: str) -> None:
    try:
        config = load_config(overrides=dict([parse_setting(text)]))
    except ConfigError:
        return
    assert to_mapping(from_mapping(Config, parse_toml(to_toml(config)))) == to_mapping(config)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "9" * 5000 + "x", '"\ud800', ""])
def test_no_document_is_too_deep_to_be_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_json(text)
    with pytest.raises(ConfigError):
        parse_toml(f"a = {text}")


@pytest.mark.parametrize("key", ["a." * 2000 + "a", "training.seed" + ".a" * 2000])
def test_no_setting_is_too_deep_to_be_refused(tmp_path: Path, key: str) -> None:
    (tmp_path / "config.toml").write_text(f"{key} = 1")
    for source in ({"path": tmp_path / "config.toml"}, {"overrides": {key: 1, f"{key}.b": 2}}):
        with pytest.raises(ConfigError, match="nested"):
            load_config(**source)


def test_parquet_texts_that_are_not_utf_8_are_a_sentence(tmp_path: Path) -> None:
    texts = pa.array([b"a", b"\xb7"]).view(pa.string())
    pq.write_table(pa.table({"item": ["1", "2"], "kind": texts}), tmp_path / "items.parquet")
    with pytest.raises(DataError, match="UTF"):
        read_side(tmp_path / "items.parquet")
    with pytest.raises(DataError, match="UTF"):
        next(batches(tmp_path / "items.parquet", ["kind"]))


def test_what_unpacks_without_end_is_refused_before_it_does(tmp_path: Path) -> None:
    (tmp_path / "log.csv.gz").write_bytes(gzip.compress(b"\0" * (1 << 26)))
    with pytest.raises(DataError, match="made to fill memory"):
        read_log(tmp_path / "log.csv.gz", ImportOptions())
    with zipfile.ZipFile(tmp_path / "ml.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("u.data", b"\0" * (1 << 26))
    with pytest.raises(DataError, match="made to fill memory"):
        read_log(tmp_path / "ml.zip", ImportOptions())


def test_a_packed_part_of_a_checkpoint_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "model.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\0" * (1 << 26))
    with pytest.raises(CheckpointError, match="damaged"):
        load_tensors(tmp_path / "model.pt")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("item_memory.offsets", [0, 5, *[0] * 29]),
        ("item_memory.offsets", [*[0] * 30, 1 << 40]),
        ("memory.offsets", [*[-1] * 9]),
        ("memory.items", [7]),
        ("memory.of_item", [1, 2, 3]),
        ("tokenizer.item_features.table_of kind", [[4]] * 30),
        ("tokenizer.item_features.table_of genres", [[-1, 0]] * 30),
    ],
)
def test_numbers_of_a_checkpoint_point_inside_its_tables(
    seeds: Path, tmp_path: Path, name: str, values: list[Any]
) -> None:
    content = torch.load(seeds / "model.pt", weights_only=True)
    content["model"][name] = torch.tensor(values, dtype=content["model"][name].dtype)
    torch.save(content, tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match="damaged"):
        read_checkpoint(tmp_path / "model.pt")


@pytest.mark.slow
def test_a_tensor_that_repeats_few_numbers_is_refused_before_it_fills_memory(seeds: Path, tmp_path: Path) -> None:
    content = torch.load(seeds / "model.pt", weights_only=True)
    content["model"]["item_memory.items"] = torch.zeros(1, dtype=torch.int32).expand(1 << 40)
    torch.save(content, tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match="more than is stored"):
        read_checkpoint(tmp_path / "model.pt")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("table", "key", "value"),
    [
        ("tokenizer", "dim", 10**9),
        ("quantizer", "codes", 10**12),
        ("tokenizer", "layers", 10**9),
        ("scorer", "hidden", [10**9]),
    ],
)
def test_sizes_of_a_header_are_held_against_the_file(
    seeds: Path, tmp_path: Path, table: str, key: str, value: object
) -> None:
    import json

    content = torch.load(seeds / "model.pt", weights_only=True)
    header = json.loads(content["header"])
    header["config"][table][key] = value
    out = io.BytesIO()
    torch.save({**content, "header": json.dumps(header)}, out)
    (tmp_path / "model.pt").write_bytes(out.getvalue())
    with pytest.raises(SparcodeError, match=r"model\.pt is damaged"):
        read_checkpoint(tmp_path / "model.pt")
