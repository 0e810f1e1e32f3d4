"""A memory-mapped table of strings: number → string without reading the rest, string → number by binary search."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from sparcode_es import csr
from sparcode_es.errors import DataError
from sparcode_es.files import parse_json

PARTS = (("bytes", np.uint8), ("offsets", np.uint64), ("order", np.uint32))
ID_BYTES = 512
"""Bytes of an identifier that Elasticsearch takes: it keeps them as the ids of documents."""
DAMAGED = "the order of a table of texts is damaged: it names rows that are not there; make its folder again"


class StringTable:
    """`n` strings in three arrays: UTF-8 bytes end to end, where each begins, and the rows in byte order.

    Opening maps files; a look-up touches O(log n) of them. On disk: `NAME.bytes.npy` (uint8), `NAME.offsets.npy`
    (uint64, [n + 1]) and, for tables that are searched, `NAME.order.npy` (uint32, [n]).
    """

    def __init__(self, blob: np.ndarray, offsets: np.ndarray, order: np.ndarray | None = None) -> None:
        self._blob, self._offsets, self._order = blob, offsets, order
        # Slices of a memory map cost microseconds, those of a plain view of it a tenth.
        self._text, self._ends = memoryview(blob), np.asarray(offsets)  # type: ignore[arg-type]

    @classmethod
    def build(cls, strings: Iterable[str], searchable: bool = True) -> StringTable:
        """Make a table in memory. Raises `DataError` for a repeated string in a searchable table."""
        encoded = [text.encode("utf-8", "surrogatepass") for text in strings]
        offsets = csr.offsets_of([len(text) for text in encoded])
        blob = np.frombuffer(b"".join(encoded), dtype=np.uint8)
        if not searchable:
            return cls(blob, offsets)
        order = np.array(sorted(range(len(encoded)), key=encoded.__getitem__), dtype=np.uint32)
        for before, after in itertools.pairwise(order):
            if encoded[before] == encoded[after]:
                raise DataError(f"the identifier {encoded[after].decode('utf-8', 'replace')!r} occurs twice")
        return cls(blob, offsets, order)

    @staticmethod
    def file_names(name: str, searchable: bool = True) -> list[str]:
        """The names of the files that `save` writes."""
        parts = ["bytes", "offsets", "order"] if searchable else ["bytes", "offsets"]
        return [f"{name}.{part}.npy" for part in parts]

    def save(self, folder: Path, name: str) -> list[str]:
        """Write the table's files into `folder` and return their names."""
        arrays = [self._blob, self._offsets] + ([] if self._order is None else [self._order])
        names = self.file_names(name, searchable=self._order is not None)
        for file_name, array in zip(names, arrays, strict=True):
            np.save(folder / file_name, array)
        return names

    @classmethod
    def open(cls, folder: Path, name: str, searchable: bool = True) -> StringTable:
        """Map a saved table. Raises `DataError` when its files are missing or do not fit together."""
        try:
            arrays = [
                np.load(folder / file, mmap_mode="r", allow_pickle=False) for file in cls.file_names(name, searchable)
            ]
        except Exception as error:  # numpy raises whatever its parser of headers meets
            raise DataError(f"cannot read the table {name} in {folder}: {error}") from error
        for array, (part, dtype) in zip(arrays, PARTS, strict=False):
            if array.dtype != dtype or array.ndim != 1:
                raise DataError(
                    f"the table {name} in {folder} is damaged: its {part} are {array.dtype} {list(array.shape)}"
                )
        blob, offsets = arrays[0], arrays[1]
        if len(offsets) == 0 or int(offsets[-1]) != len(blob):
            raise DataError(f"the table {name} in {folder} is damaged: its offsets do not end where its text does")
        if searchable and len(arrays[2]) != len(offsets) - 1:
            raise DataError(f"the table {name} in {folder} is damaged: its order has another length than the table")
        return cls(*arrays)

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def longer(self, most: int) -> np.ndarray:
        """The rows of the strings of more than `most` bytes, int64 [n]."""
        return np.flatnonzero(np.diff(self._ends.astype(np.int64)) > most)

    def _encoded(self, row: int) -> bytes:
        return bytes(self._text[int(self._ends[row]) : int(self._ends[row + 1])])

    def __getitem__(self, row: int) -> str:
        if not 0 <= row < len(self):
            raise IndexError(row)
        try:
            return self._encoded(row).decode("utf-8", "surrogatepass")
        except UnicodeDecodeError as error:
            raise DataError(
                f"row {row} of a table of texts is damaged: it is not UTF-8; make its folder again"
            ) from error

    def __iter__(self) -> Iterator[str]:
        return (self[row] for row in range(len(self)))

    def texts(self, rows: np.ndarray) -> list[str]:
        """The strings of some rows, int64 [n]: one look into the offsets for all of them."""
        starts, stops = self._ends.take(rows).tolist(), self._ends.take(rows + 1).tolist()
        text = self._text
        try:
            return [str(text[start:stop], "utf-8") for start, stop in zip(starts, stops, strict=True)]
        except UnicodeDecodeError:
            return [self[row] for row in rows.tolist()]

    def find(self, text: str) -> int | None:
        """The row of `text`, or None. O(log n) string comparisons."""
        order, wanted = self._searched(), text.encode("utf-8", "surrogatepass")
        place = self._first(wanted)
        return int(order[place]) if place < len(self) and self._ranked(place) == wanted else None

    def _ranked(self, place: int) -> bytes:
        """The string at a place of the byte order. Raises `DataError` where the order names no row."""
        assert self._order is not None
        try:
            return self._encoded(int(self._order[place]))
        except IndexError as error:
            raise DataError(DAMAGED) from error

    def _first(self, wanted: bytes) -> int:
        """The place in byte order of the first string that is not smaller."""
        low, high = 0, len(self)
        while low < high:
            middle = (low + high) // 2
            if self._ranked(middle) < wanted:
                low = middle + 1
            else:
                high = middle
        return low

    def beginning(self, prefix: str, count: int) -> list[str]:
        """The first `count` strings, in byte order, that begin with `prefix`."""
        order, wanted = self._searched(), prefix.encode("utf-8", "surrogatepass")
        first = self._first(wanted)
        places = range(first, min(first + count, len(self)))
        found = itertools.takewhile(lambda place: self._ranked(place).startswith(wanted), places)
        return [self[int(order[place])] for place in found]

    def order(self) -> np.ndarray:
        """The rows in byte order of their strings, uint32 [n]."""
        order = self._searched()
        if len(order) and int(order.max()) >= len(self):
            raise DataError(DAMAGED)
        return order

    def _searched(self) -> np.ndarray:
        if self._order is None:
            raise TypeError("this table was not built to be searched")
        return self._order


def read_document(table: StringTable, row: int) -> dict[str, Any] | None:
    """An item's title and attributes out of a table of JSON texts; None for a row that holds something else."""
    try:
        document = parse_json(table[row])
    except (ValueError, DataError):
        return None
    if not isinstance(document, dict) or not isinstance(document.get("attributes"), dict):
        return None
    return document if "title" in document and isinstance(document["title"], str | None) else None
