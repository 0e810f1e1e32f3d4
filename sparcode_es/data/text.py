"""Bytes of a file as text columns: gzip, lines, whitespace or separator; vectorised with Arrow."""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sparcode_es.data.events import Events, ReadReport
from sparcode_es.errors import DataError

MOST_PACKED, ROOM = 100, 1 << 20
"""How many times the packed size an unpacked log may have, and bytes that it may have in any case."""
HEAD = 1 << 16
"""Bytes of a file that tell its format."""
GZIP = b"\x1f\x8b"
"""How a gzip file begins."""

JSON_LINES = (".jsonl", ".ndjson")


def suffix_of(path: Path) -> str:
    """The ending of a file's name that tells what the file is, packed or not, in lower case."""
    return next((suffix for suffix in reversed(path.suffixes) if suffix != ".gz"), "").lower()


def read_bytes(path: Path) -> bytes:
    """The file's content, unpacked where it is gzip (by its first bytes). Raises `DataError` when it cannot be read."""
    with _reading(path):
        content = path.read_bytes()
        if content[:2] == GZIP:
            return _gunzipped(content, path)
    _check_name(content, path)
    return content


def head(path: Path) -> bytes:
    """The first `HEAD` bytes of what `read_bytes` gives, without reading more. Raises `DataError` as that does."""
    with _reading(path), path.open("rb") as file:
        if file.peek(2)[:2] == GZIP:
            with gzip.GzipFile(fileobj=file) as unpacked:
                return unpacked.read(HEAD)
        content = file.read(HEAD)
    _check_name(content, path)
    return content


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist") from error
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"cannot read {path}: {error}; the file may be truncated") from error


def _check_name(content: bytes, path: Path) -> None:
    """Raise `DataError` for a name of gzip on what is no text either; the content's end may halve a character."""
    if path.suffix.lower() == ".gz":
        try:
            codecs.utf_8_decode(content)
        except UnicodeDecodeError as error:
            raise DataError(
                f"{path} is not gzip, as its name says, nor text; get it again, or give it its own name"
            ) from error


def _gunzipped(content: bytes, path: Path) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
        unpacked = file.read(MOST_PACKED * len(content) + ROOM + 1)
    refuse_bomb(len(unpacked), len(content), str(path))
    return unpacked


def refuse_bomb(unpacked: int, packed: int, what: str) -> None:
    """Raise `DataError` where so few packed bytes unpack into so many that no log is packed like that."""
    if unpacked > MOST_PACKED * packed + ROOM:
        raise DataError(
            f"{what} unpacks into more than {MOST_PACKED} times its size; that is no log, but made to fill memory"
        )


def lines_of(content: bytes, source: str) -> pa.LargeStringArray:
    """The content's lines as UTF-8 text, without their ends. Raises `DataError` for an empty file or other bytes."""
    if not content.strip():
        raise DataError(f"{source} is empty")
    content = content.removeprefix(b"\xef\xbb\xbf")
    if not content.endswith(b"\n"):
        content += b"\n"
    ends = np.flatnonzero(np.frombuffer(content, dtype=np.uint8) == ord("\n")) + 1
    offsets = np.concatenate([[0], ends]).astype(np.int64)
    lines = pa.LargeStringArray.from_buffers(len(ends), pa.py_buffer(offsets), pa.py_buffer(content))
    try:
        lines.validate(full=True)
    except pa.ArrowInvalid as error:
        raise not_utf8(content, source) or DataError(f"cannot read {source}: {error}") from error
    return pc.utf8_trim_whitespace(lines)


def not_utf8(content: bytes, source: str) -> DataError | None:
    """The error that says where the content stops being UTF-8, or None where it is UTF-8."""
    try:
        content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return DataError(
            f"{source} is not UTF-8 text (line {line}, byte 0x{content[error.start]:02x}); save it as UTF-8, or convert it: "
            "`iconv -f WINDOWS-1252 -t UTF-8` for a Western table of Excel's"
        )
    return None


def bad_identifiers(column: pa.Array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which identifiers are empty, which are not a number's name (nan, null, none), which are negative; bool [n] each."""
    text = column.cast(pa.large_string())
    empty = pc.or_(pc.is_null(text), pc.equal(pc.fill_null(text, ""), ""))
    lower = pc.utf8_lower(pc.fill_null(text, ""))
    missing = pc.is_in(lower, value_set=pa.array(["nan", "null", "none", "<na>"], type=pa.large_string()))
    negative = pc.match_substring_regex(lower, r"^-[0-9]+(\.[0-9]*)?$")
    return tuple(part.to_numpy(zero_copy_only=False) for part in (empty, missing, negative))


def identifiers(column: pa.Array) -> tuple[np.ndarray, list[str]]:
    """Numbers for distinct texts, by first appearance: int64 [n], and the texts."""
    encoded = column.dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    return encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64), encoded.dictionary.to_pylist()


def make_events(users: pa.Array, items: pa.Array, times: np.ndarray | None, report: ReadReport) -> Events:
    """Events of good columns of equal length."""
    user_numbers, user_ids = identifiers(users)
    item_numbers, item_ids = identifiers(items)
    return Events(user_numbers, item_numbers, times, user_ids, item_ids, report)
