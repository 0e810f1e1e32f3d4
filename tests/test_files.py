"""Atomic files and folders: the old or the new, never a half."""

from __future__ import annotations

from pathlib import Path

import pytest

from sparcode_es.errors import StorageError
from sparcode_es.files import atomic_folder, atomic_write, sha256_of


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic_write(path, "w") as file:
        file.write("new")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_failed_folder_leaves_the_old_folder(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    with atomic_folder(path) as work:
        (work / "a").write_text("1")
    with pytest.raises(RuntimeError), atomic_folder(path) as work:
        (work / "a").write_text("2")
        raise RuntimeError
    assert (path / "a").read_text() == "1"
    with atomic_folder(path) as work:
        (work / "b").write_text("3")
    assert [p.name for p in path.iterdir()] == ["b"]
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_leftovers_of_a_kill_are_removed(tmp_path: Path) -> None:
    (tmp_path / ".folder.abc.tmp").mkdir()
    with atomic_folder(tmp_path / "folder"):
        pass
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_a_kill_between_the_two_renames_loses_nothing(tmp_path: Path) -> None:
    (tmp_path / ".folder.abc.tmp" / "old").mkdir(parents=True)
    (tmp_path / ".folder.abc.tmp" / "old" / "a").write_text("1")
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "folder"):
        raise RuntimeError
    assert (tmp_path / "folder" / "a").read_text() == "1"


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="file"), atomic_write(tmp_path / "file" / "below"):
        pass
    with pytest.raises(StorageError, match="file"), atomic_folder(tmp_path / "file" / "below"):
        pass


def test_checksum(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    assert sha256_of(tmp_path / "x") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
