"""Writing files so that a reader sees the old one or the new one, never a half of one."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Set
from pathlib import Path
from typing import IO, Any

from sparcode_es.errors import StorageError


def parse_json(text: str | bytes) -> Any:
    """A JSON document. Raises `ValueError` for anything that is none, nesting beyond what can be read included."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


@contextlib.contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn an `OSError` met while writing `path` into a `StorageError` that says where and what to do."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise StorageError(f"cannot write {path}: {reason}. Choose a folder that is writable and has room.") from error


def check_replaceable(path: Path, kind: str, keys: Set[str]) -> None:
    """Raise `StorageError` when writing the folder `path` would take away anything but an old one of its own kind.

    kind: its name for people; keys: what the manifest.json of its kind holds at least.
    """
    if not path.exists():
        return
    advice = "it would be lost. Choose another folder, or remove it first."
    if not path.is_dir():
        raise StorageError(f"{path} exists and is not a folder; {advice}")
    with storage_errors(path):
        present = {file.name for file in path.iterdir()}
    try:
        manifest = parse_json((path / "manifest.json").read_bytes())
        ours = {"manifest.json", *manifest["files"]} if keys <= manifest.keys() else set()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        ours = set()
    foreign = sorted(present - ours)
    if foreign:
        raise StorageError(f"{path} exists and holds {foreign[0]}, which is no file of a {kind}; {advice}")


@contextlib.contextmanager
def atomic_write(path: Path, mode: str = "wb") -> Iterator[IO[Any]]:
    """Open a temporary file beside `path`; on success flush it to disk and rename it over `path`, else remove it."""
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        temporary = Path(name)
        encoding = None if "b" in mode else "utf-8"
        try:
            with os.fdopen(handle, mode, encoding=encoding) as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                temporary.unlink()
            raise


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a fresh temporary folder beside `path`; on success it takes `path`'s place, else it is removed.

    Leftovers of a killed run (`.NAME.*.tmp`) are removed on the way in, and an old folder among them is put back.
    """
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _clear_leftovers(path)
        work = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent))
        try:
            yield work
            work.chmod(0o777 & ~_umask())
            _swap(work, path)
        except BaseException:
            shutil.rmtree(work, ignore_errors=True)
            raise


def _clear_leftovers(path: Path) -> None:
    """Remove what killed runs left beside `path`; a folder that a kill caught between its two renames is put back."""
    for leftover in path.parent.glob(f".{path.name}.*.tmp"):
        if not path.exists() and (leftover / "old").is_dir():
            (leftover / "old").replace(path)
        shutil.rmtree(leftover, ignore_errors=True)


def _swap(work: Path, path: Path) -> None:
    if path.exists():
        old = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent))
        path.replace(old / "old")
        work.replace(path)
        shutil.rmtree(old, ignore_errors=True)
    else:
        work.replace(path)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def sha256_of(path: Path) -> str:
    """The file's SHA-256, as hexadecimal digits, read in blocks of 1 MiB."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()
