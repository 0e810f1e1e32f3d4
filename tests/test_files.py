"""Atomic files and folders: the old or the new, never a half."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from sparcode_es import files
from sparcode_es.errors import StorageError
from sparcode_es.files import atomic_folder, atomic_write, sha256_of, storage_errors


def write(path: Path, text: str) -> None:
    """Make the folder `path` with one file, `a`."""
    with atomic_folder(path) as work:
        (work / "a").write_text(text)


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


def test_there_is_a_folder_at_every_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "folder"
    write(path, "1")
    replace, there = Path.replace, []

    def watched(self: Path, target: Path) -> Path:
        done = replace(self, target)
        there.append((path / "a").is_file())
        return done

    monkeypatch.setattr(Path, "replace", watched)
    write(path, "2")
    assert (path / "a").read_text() == "2"
    assert all(there)
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize("lacks", ["the call", "its flag"])
def test_two_renames_where_the_system_cannot_exchange(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lacks: str
) -> None:
    if lacks == "the call":
        monkeypatch.setattr(files, "_renameat2", lambda: None)
    else:
        monkeypatch.setattr(files, "EXCHANGE", 1 << 20)
    write(tmp_path / "folder", "1")
    write(tmp_path / "folder", "2")
    assert (tmp_path / "folder" / "a").read_text() == "2"
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_a_link_keeps_pointing_at_its_folder(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "folder")
    write(tmp_path / "link", "1")
    write(tmp_path / "link", "2")
    assert (tmp_path / "disk" / "folder" / "a").read_text() == "2"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["disk", "link"]
    assert [p.name for p in (tmp_path / "disk").iterdir()] == ["folder"]


def test_the_new_folder_is_on_disk_before_the_old_one_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "folder"
    write(path, "1")
    fsync, rmtree = os.fsync, shutil.rmtree
    steps: list[int | str] = []

    def synced(handle: int) -> None:
        steps.append(os.fstat(handle).st_ino)
        fsync(handle)

    def removed(folder: Path, **options: bool) -> None:
        steps.append("removed")
        rmtree(folder, **options)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(shutil, "rmtree", removed)
    with atomic_folder(path) as work:
        (work / "b").write_text("2")
        (work / "below").mkdir()
        (work / "below" / "c").write_text("3")
    new = [path, path / "b", path / "below", path / "below" / "c"]
    assert steps[-1] == "removed"
    assert set(steps[:-2]) == {each.stat().st_ino for each in new}
    assert steps[-2] == tmp_path.stat().st_ino, "the swap itself, last"


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    with atomic_folder(path) as work:
        (work / "a").write_text("1")
        with pytest.raises(StorageError, match=r"another run is writing .*folder; wait until it has ended"):
            write(path, "2")
        write(tmp_path / "folder.2", "beside it")
        (work / "b").write_text("still here")
    assert (path / "a").read_text() == "1"
    write(path, "3")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder", "folder.2"]


def test_a_writer_of_a_shorter_name_leaves_others_work_alone(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "folder.2") as work:
        write(tmp_path / "folder", "1")
        (work / "a").write_text("still here")
    assert (tmp_path / "folder.2" / "a").is_file()


def test_a_lock_that_its_last_owner_took_along_locks_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is opened just before its owner removes it: locking it then would keep nobody out."""
    path, flock, calls = tmp_path / "folder", files.fcntl.flock, []

    def late(handle: int, how: int) -> None:
        calls.append(how)
        if len(calls) == 1:
            (tmp_path / ".folder.writing.lock").unlink()
        flock(handle, how)

    monkeypatch.setattr(files.fcntl, "flock", late)
    with atomic_folder(path), pytest.raises(StorageError, match="another run"):
        write(path, "2")
    assert len(calls) == 3


def test_a_disk_without_locks_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(handle: int, how: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(files.fcntl, "flock", refuse)
    write(tmp_path / "folder", "1")
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


def test_checksum_of_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    (folder / "below").mkdir(parents=True)
    (folder / "x").write_bytes(b"abc")
    (folder / "below" / "y").write_bytes(b"abc")
    before = sha256_of(folder)
    assert before == sha256_of(folder.rename(tmp_path / "b")), "its own name does not count"
    (tmp_path / "b" / "below" / "y").rename(tmp_path / "b" / "y")
    assert sha256_of(tmp_path / "b") != before


def test_what_is_no_writing_is_told_as_it_is(tmp_path: Path) -> None:
    """An output that nobody reads any more, and a file that is read meanwhile; what lies at or below the path is its own."""
    with pytest.raises(BrokenPipeError), storage_errors(tmp_path / "out"):
        raise BrokenPipeError(32, "Broken pipe")
    with pytest.raises(FileNotFoundError), storage_errors(tmp_path / "out" / "file"):
        (tmp_path / "source").read_bytes()
    for own in (tmp_path / "out" / "file", tmp_path / ".out.tmp"):
        with pytest.raises(StorageError, match="out: No such file"), storage_errors(tmp_path / "out"):
            own.read_bytes()
    with pytest.raises(StorageError, match="No space left"), storage_errors(tmp_path / "out"):
        raise OSError(28, "No space left on device")
