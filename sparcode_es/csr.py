"""Rows of different lengths, end to end (CSR): row r is the entries offsets[r] … offsets[r + 1] - 1."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def offsets_of(lengths: np.ndarray | Sequence[int]) -> np.ndarray:
    """Where n rows of these lengths begin, and where the last one ends: uint64 [n + 1]."""
    offsets = np.zeros(len(lengths) + 1, dtype=np.uint64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def owners(offsets: np.ndarray) -> np.ndarray:
    """The row of each entry, int64 [offsets[n] - offsets[0]]."""
    lengths: np.ndarray = np.diff(offsets.astype(np.int64))
    return np.repeat(np.arange(len(lengths)), lengths)


def ranges(starts: np.ndarray | int, lengths: np.ndarray) -> np.ndarray:
    """start, start + 1, … of each row, end to end, int64; starts int64 [n], or one for all rows, lengths int64 [n]."""
    shifts = np.repeat(starts - (np.cumsum(lengths) - lengths), lengths)
    found: np.ndarray = np.arange(len(shifts)) + shifts
    return found
