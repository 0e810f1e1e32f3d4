"""The manifest of a data folder: what it has to hold, and that it is written as it was read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sparcode_es_cli.main import cli

from sparcode_es.data.dataset import Dataset
from sparcode_es.data.manifest import read_manifest, write_manifest
from sparcode_es.errors import DataError

LOG = "user,item,time\nu1,a,1\nu1,b,2\nu1,c,3\nu2,b,4\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "log.csv").write_text(LOG)
    (tmp_path / "users.csv").write_text("user,age\nu1,30\nu2,50\n")
    flags = ["--users", str(tmp_path / "users.csv"), "--feature", "user:age:numerical"]
    result = CliRunner().invoke(
        cli, ["data", "import", str(tmp_path / "log.csv"), *flags, "--out", str(tmp_path / "data")]
    )
    assert result.exit_code == 0, result.output
    return tmp_path / "data"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"counts": {}}, "counts.users is missing"),
        ({"counts": 3}, "counts must be a table"),
        ({"split": {"protocol": "dice"}}, "split.protocol must be one of leave-one-out"),
        ({"split": {"protocol": "users", "held_out": 7.0}}, "the held-out share must lie between"),
        ({"source": {"file": "log.csv", "sha256": "", "format": 1}}, "source.format must be str"),
        ({"schema": [{"name": "age", "side": "user", "kind": "sound", "size": 1}]}, r"schema\[0\].kind must be one of"),
        ({"schema": [{"name": "age", "side": "user", "kind": "vector", "size": "1"}]}, r"schema\[0\].size must be int"),
        ({"files": {"events.items.npy": {"bytes": 1}}}, "files.events.items.npy.sha256 is missing"),
        ({"k_core": None}, "k_core must be a table"),
        ({"color": "red"}, "color"),
    ],
)
def test_a_manifest_that_says_what_no_import_does(folder: Path, change: dict[str, Any], said: str) -> None:
    file = folder / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(DataError, match=rf"manifest\.json is damaged: .*{said}.*; import the data again"):
        Dataset.open(folder)


def test_a_manifest_is_written_as_it_was_read(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()
    write_manifest(tmp_path / "again", read_manifest(folder))
    assert (tmp_path / "again" / "manifest.json").read_bytes() == (folder / "manifest.json").read_bytes()


def test_a_manifest_tells_what_was_imported(folder: Path) -> None:
    manifest = read_manifest(folder)
    assert (manifest.source.file, manifest.source.format, manifest.source.has_times) == ("log.csv", "csv", True)
    assert (manifest.counts.events, manifest.counts.train, manifest.counts.test) == (4, 2, 1)
    (age,) = manifest.schema
    assert (age.name, age.side, age.kind, age.mean, age.deviation) == ("age", "user", "numerical", 40, 10)
