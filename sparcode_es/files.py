"""Writing files and folders so that a reader, a kill or a power cut finds the old one or the new one, never a half of one."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import functools
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from sparcode_es.errors import StorageError

AT_FDCWD = -100
EXCHANGE = 2
"""Linux's RENAME_EXCHANGE."""
SYNCED_AT_ONCE = 8


def parse_json(text: str | bytes) -> Any:
    """A JSON document. Raises `ValueError` for anything that is none, nesting beyond what can be read included."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


@contextlib.contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn an `OSError` met while writing `path` into a `StorageError` that says where and what to do. One of something else, an
    output that nobody reads or a file that lies elsewhere, stays as it is."""
    try:
        yield
    except OSError as error:
        if isinstance(error, ConnectionError) or _is_elsewhere(error.filename, path):
            raise
        reason = error.strerror or str(error)
        raise StorageError(f"cannot write {path}: {reason}. Choose a folder that is writable and has room.") from error


def _is_elsewhere(name: Any, path: Path) -> bool:
    """Whether an error's file, as far as it names one, lies neither at `path` nor beside or below it."""
    if not isinstance(name, (str, bytes, os.PathLike)):
        return False
    return not Path(os.fsdecode(name)).resolve().is_relative_to(path.resolve().parent)


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
    """Yield a fresh temporary folder beside `path`; on success it takes `path`'s place, on disk, else it is removed.

    Leftovers of a killed run (`.NAME.*.tmp`) are removed on the way in, and an old folder among them is put back. Raises
    `StorageError` when it cannot be written, or another run is writing `path`.
    """
    with storage_errors(path):
        place = path.resolve() if path.is_symlink() else path
        with only_writer(place):
            _clear_leftovers(place)
            work = _temporary_folder(place)
            try:
                yield work
                work.chmod(0o777 & ~_umask())
                _sync([work, *work.rglob("*")])
                _swap(work, place)
                _sync([place.parent])
            finally:
                shutil.rmtree(work, ignore_errors=True)


@contextlib.contextmanager
def only_writer(path: Path, doing: str = "writing") -> Iterator[None]:
    """Hold the lock on writing `path`: the file `.NAME.writing.lock` beside it, which goes with its owner.

    doing: what else is done to it, for a lock of its own: whoever holds that may write it meanwhile. Raises `StorageError` when
    another run holds it, or the file cannot be made. Where the file system has no locks, nobody is kept out.
    """
    place = path.resolve()
    file = place.parent / f".{place.name}.{doing}.lock"
    with storage_errors(path):
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            while (handle := _locked(file)) is None:
                pass
        except BlockingIOError as error:
            raise StorageError(f"another run is {doing} {path}; wait until it has ended") from error
    try:
        yield
    finally:
        file.unlink(missing_ok=True)
        os.close(handle)


def _locked(file: Path) -> int | None:
    """A handle that holds the lock; None where its last owner removed the file meanwhile. Raises `BlockingIOError`."""
    handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise
    except OSError:
        return handle
    with contextlib.suppress(FileNotFoundError):
        if os.path.samestat(file.stat(), os.fstat(handle)):
            return handle
    os.close(handle)
    return None


def _temporary_folder(path: Path) -> Path:
    return Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent))


def _clear_leftovers(path: Path) -> None:
    """Remove what killed runs left beside `path`; a folder that a kill caught between two renames is put back."""
    name = re.compile(rf"\.{re.escape(path.name)}\.[^.]+\.tmp")
    for leftover in path.parent.iterdir():
        if not name.fullmatch(leftover.name):
            continue
        if not path.exists() and (leftover / "old").is_dir():
            (leftover / "old").replace(path)
        shutil.rmtree(leftover, ignore_errors=True)


def _sync(paths: Iterable[Path]) -> None:
    """Have the disk keep these files and folders. At once, so that one turn of the disk's serves many of them."""
    with ThreadPoolExecutor(SYNCED_AT_ONCE) as pool:
        for _ in pool.map(_sync_one, paths):
            pass


def _sync_one(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system that syncs no folders
            raise
    finally:
        os.close(handle)


def _swap(work: Path, path: Path) -> None:
    """Put `work` in the place of `path`; what was there, if anything, ends up below the name of `work`.

    In one step, where the system can exchange two folders; else there is no `path` for a moment.
    """
    if not path.exists():
        work.replace(path)
    elif not _exchange(work, path):
        old = _temporary_folder(path)
        path.replace(old / "old")
        work.replace(path)
        old.replace(work)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two folders in one step; False where the system or the file system cannot."""
    call = _renameat2()
    if call is None:
        return False
    if call(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        return False
    raise OSError(number, os.strerror(number))


@functools.cache
def _renameat2() -> Callable[..., int] | None:
    """Linux's `renameat2`; None where there is none."""
    return getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, or of the names and contents of a folder's files, as hexadecimal digits.

    Files are read in blocks of 1 MiB.
    """
    digest = hashlib.sha256()
    if path.is_dir():
        for file in sorted(file for file in path.rglob("*") if file.is_file()):
            digest.update(os.fsencode(file.relative_to(path)) + f"\0{sha256_of(file)}\n".encode())
        return digest.hexdigest()
    with path.open("rb") as content:
        for block in iter(lambda: content.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


@dataclass(frozen=True)
class FileSum:
    """What a manifest says of a file."""

    bytes: int
    sha256: str


def sums_of(folder: Path) -> dict[str, FileSum]:
    """Size and SHA-256 of every file of a folder but manifest.json, by name."""
    files = (file for file in sorted(folder.iterdir()) if file.name != "manifest.json")
    return {file.name: FileSum(file.stat().st_size, sha256_of(file)) for file in files}
