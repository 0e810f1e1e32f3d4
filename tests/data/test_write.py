"""Writing a data folder: it takes the place of an old one, and of nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sparcode_es_cli.main import cli

from sparcode_es.data.dataset import Dataset
from sparcode_es.errors import StorageError

LOG = "u1 a b c\nu2 b c a\n"


def write(log: Path, out: Path) -> Result:
    return CliRunner().invoke(cli, ["data", "import", str(log), "--format", "sequences", "--out", str(out)])


def tree(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "logs" / "log.txt"
    path.parent.mkdir()
    path.write_text(LOG)
    return path


def test_an_old_data_folder_and_an_empty_folder_are_replaced(log: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for text, users in ((LOG, 2), ("u1 a b c\n", 1)):
        log.write_text(text)
        assert write(log, tmp_path / "data").exit_code == 0
        assert Dataset.open(tmp_path / "data", verify=True).num_users == users
    (tmp_path / "data" / "events.times.npy").unlink()
    assert write(log, tmp_path / "data").exit_code == 0


@pytest.mark.parametrize("out", ["logs", "logs/log.txt"])
def test_the_folder_of_the_log_and_the_log_itself_are_not(log: Path, tmp_path: Path, out: str) -> None:
    result = write(log, tmp_path / out)
    assert isinstance(result.exception, StorageError)
    assert "log" in str(result.exception)
    assert tree(tmp_path) == {"logs/log.txt": LOG}


def test_a_data_folder_with_something_put_into_it_is_not(log: Path, tmp_path: Path) -> None:
    assert write(log, tmp_path / "data").exit_code == 0
    (tmp_path / "data" / "notes.txt").write_text("mine")
    result = write(log, tmp_path / "data")
    assert isinstance(result.exception, StorageError)
    assert "notes.txt" in str(result.exception)
    assert Dataset.open(tmp_path / "data", verify=True).num_users == 2


@pytest.mark.parametrize("manifest", ["", "[]", "{}", '{"files": 1}'])
def test_a_folder_with_a_manifest_of_something_else_is_not(log: Path, tmp_path: Path, manifest: str) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "manifest.json").write_text(manifest)
    result = write(log, tmp_path / "data")
    assert isinstance(result.exception, StorageError), result.exception
    assert (tmp_path / "data" / "manifest.json").read_text() == manifest


def test_the_working_folder_is_not(log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(log.parent)
    assert isinstance(write(log, Path(os.curdir)).exception, StorageError)
    assert tree(tmp_path) == {"logs/log.txt": LOG}
