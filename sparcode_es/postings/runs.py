"""Postings in order of their items → in order of their codes: sorted runs in a file, read together a few codes at a time."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import numpy as np

from sparcode_es import csr

RUN_POSTINGS = 1 << 22
"""Postings that are held, and sorted, at a time: about 100 MB."""
COLUMNS = (np.dtype(np.uint32), np.dtype(np.uint16))
"""Item numbers and grid values."""


class Runs:
    """Takes postings whose items ascend within each code, and gives them back one code after another.

    They lie in two nameless files in `folder`, 6 bytes each; in memory is where each code begins in each run, 8 bytes a code for
    every `held` postings. Use as a context manager.
    """

    def __init__(self, folder: Path, num_codes: int, held: int = RUN_POSTINGS) -> None:
        self._num_codes, self._held, self._waiting = num_codes, held, 0
        self._pieces: list[tuple[np.ndarray, ...]] = []
        self._files = [tempfile.TemporaryFile(dir=folder) for _ in COLUMNS]  # noqa: SIM115
        self._starts: list[np.ndarray] = []
        """Of each run, where each code begins in the files, int64 [C + 1]."""

    def __enter__(self) -> Runs:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files:
            file.close()

    def add(self, codes: np.ndarray, items: np.ndarray, grid: np.ndarray) -> None:
        """Code rows, item numbers and grid values of some postings, [n] each."""
        narrow = np.dtype(
            np.uint16 if self._num_codes <= 1 << 16 else np.uint32
        )  # numpy sorts 16 bits by radix, in linear time
        self._pieces.append((codes.astype(narrow), items.astype(np.uint32), grid.astype(np.uint16)))
        self._waiting += len(codes)
        if self._waiting >= self._held:
            self._write_run()

    def _write_run(self) -> None:
        codes, items, grid = (np.concatenate(column) for column in zip(*self._pieces, strict=True))
        order = np.argsort(codes, kind="stable")
        for file, column in zip(self._files, (items, grid), strict=True):
            file.write(column[order].data)
        before = int(self._starts[-1][-1]) if self._starts else 0
        counts = np.bincount(codes, minlength=self._num_codes)
        self._starts.append(before + csr.offsets_of(counts).astype(np.int64))
        self._pieces, self._waiting = [], 0

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Each code's item numbers uint32 [n], ascending, and grid values uint16 [n]. Nothing may be added after."""
        if self._pieces:
            self._write_run()
        starts = np.stack([*self._starts, np.zeros(self._num_codes + 1, dtype=np.int64)])
        totals = np.diff(starts).sum(0)
        ends = np.cumsum(totals)
        first = 0
        while first < self._num_codes:
            done = int(ends[first - 1]) if first else 0
            last = max(first + 1, int(np.searchsorted(ends, done + self._held, side="right")))
            yield from self._codes(starts, first, last)
            first = last

    def _codes(self, starts: np.ndarray, first: int, last: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Code rows first … last - 1, from every run."""
        counts = np.diff(starts[:, first : last + 1])
        owners = np.concatenate([csr.owners(row[first : last + 1]) for row in starts])
        order = np.argsort(owners.astype(np.uint16) if last - first <= 1 << 16 else owners, kind="stable")
        spans = [(int(row[first]), int(row[last])) for row in starts]
        items, grid = (self._read(column, spans)[order] for column in range(len(COLUMNS)))
        ends = csr.offsets_of(counts.sum(0)).tolist()
        for start, stop in itertools.pairwise(ends):
            yield items[start:stop], grid[start:stop]

    def _read(self, column: int, spans: list[tuple[int, int]]) -> np.ndarray:
        file, kind = self._files[column], COLUMNS[column]
        parts = []
        for start, stop in spans:
            file.seek(start * kind.itemsize)
            parts.append(np.frombuffer(file.read((stop - start) * kind.itemsize), dtype=kind))
        return np.concatenate(parts)
