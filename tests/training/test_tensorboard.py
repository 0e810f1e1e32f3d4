"""What TensorBoard gets to see of a training: the numbers of log.jsonl, and the configuration."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sparcode_es_cli.main import main
from tensorboardX.proto.event_pb2 import Event

from sparcode_es.config import load_config, to_toml
from sparcode_es.errors import MissingExtraError, StorageError
from sparcode_es.training.tensorboard import TensorBoard
from training.small import SMALL


def events(folder: Path) -> Iterator[Any]:
    """Event files are records: length (8 bytes, little endian), its checksum (4), the event, its checksum (4)."""
    for path in sorted(folder.iterdir()):
        content, place = path.read_bytes(), 0
        while place < len(content):
            length = int.from_bytes(content[place : place + 8], "little")
            yield Event.FromString(content[place + 12 : place + 12 + length])
            place += length + 16


def test_its_scalars_are_those_of_the_log(chain: Path, tmp_path: Path) -> None:
    out, folder = tmp_path / "out", tmp_path / "board" / "run"
    words = ["train", "--data", str(chain), "--out", str(out), "--tensorboard", str(folder), "--json"]
    settings = [f"--set={key}={json.dumps(value)}" for key, value in SMALL.items()]
    with pytest.raises(SystemExit) as ended:
        main([*words, *settings])
    assert ended.value.code in (0, None)
    values = [(event.step, value) for event in events(folder) for value in event.summary.value]
    scalars = {(value.tag, step): value.simple_value for step, value in values if not value.tensor.string_val}
    texts = {
        value.tag.partition("/")[0]: value.tensor.string_val[0].decode()
        for _, value in values
        if value.tensor.string_val
    }
    records = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    told = {
        (f"{record['stage']}/{key.replace('@', '_at_')}", record["epoch"]): value
        for record in records
        if "epoch" in record
        for key, value in record.items()
        if key not in ("stage", "epoch")
    }
    assert scalars == pytest.approx(told, rel=1e-6)
    assert {("tower/loss", 1), ("tower/recall_at_10", 2), ("codes/perplexity", 3)} <= scalars.keys()
    assert texts["config"] == f"```\n{to_toml(load_config(out / 'config.toml'))}```"
    assert texts.keys() == {"config", *(record["stage"] for record in records if "epoch" not in record)}
    assert f"perplexity: {records[-1]['perplexity']}" in texts["done"]


def test_without_the_package_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(MissingExtraError, match=r"sparcode-es\[tensorboard\]"):
        TensorBoard(tmp_path / "board", load_config())
    assert not (tmp_path / "board").exists()


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        TensorBoard(tmp_path / "file", load_config())
