"""Vectors and lists in Parquet → numpy, a batch of rows at a time, whichever way they are kept: lists, or text in brackets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sparcode_es.errors import DataError

ROWS = 8192
"""Rows that are read at a time."""


def column_names(path: Path) -> list[str]:
    """The columns of a Parquet file. Raises `DataError` when it is missing or cannot be read."""
    if not path.is_file():
        raise DataError(f"{path} does not exist")
    try:
        names: list[str] = pq.read_schema(path).names
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"cannot read {path} as Parquet: {error}") from error
    return names


def batches(path: Path, columns: Sequence[str], rows: int = ROWS) -> Iterator[list[pa.Array]]:
    """Some columns of a Parquet file, at most `rows` rows at a time and nothing else in memory.

    Raises `DataError` for a missing column and a file that cannot be read.
    """
    if not path.is_file():
        raise DataError(f"{path} does not exist")
    try:
        with pq.ParquetFile(path) as file:
            present = file.schema_arrow.names
            missing = next((name for name in columns if name not in present), None)
            if missing is not None:
                raise DataError(f"{path} has no column {missing!r}; it has: {', '.join(present[:20])}")
            for batch in file.iter_batches(rows, columns=list(columns)):
                batch.validate(full=True)
                yield [batch.column(name) for name in columns]
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"cannot read {path} as Parquet: {error}; the file may be damaged") from error


def whole_numbers(path: Path, column: str) -> np.ndarray:
    """A column of whole numbers, int64 [n]. Raises `DataError` where a cell is none."""
    parts = [part for (part,) in batches(path, [column], 1 << 20)]
    try:
        numbers = [part.cast(pa.int64()).to_numpy(zero_copy_only=not part.null_count) for part in parts]
        if any(part.null_count for part in parts):
            raise ValueError("a cell is empty")
    except (pa.ArrowException, ValueError) as error:
        raise DataError(f"the column {column!r} of {path} does not hold whole numbers: {error}") from error
    return np.concatenate([np.zeros(0, np.int64), *numbers])


def ragged(column: pa.Array, source: str) -> tuple[np.ndarray, np.ndarray]:
    """Cells that are lists of numbers, or such lists as text → lengths int64 [n], and the numbers end to end, float64.

    An empty cell is an empty list. Raises `DataError` for text that is no list of numbers.
    """
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type) or pa.types.is_fixed_size_list(column.type):
        filled = column.is_valid().to_numpy(zero_copy_only=False)
        lengths = column.value_lengths().fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
        values = column.flatten().to_numpy(zero_copy_only=False).astype(np.float64)
        return np.where(filled, lengths, 0), values
    try:
        rows = [_numbers(text) for text in column.cast(pa.large_string()).to_pylist()]
    except (pa.ArrowException, ValueError) as error:
        raise DataError(f"{source} holds a cell that is no list of numbers: {error}") from error
    return np.array([len(row) for row in rows], dtype=np.int64), np.concatenate([np.zeros(0), *rows])


def _numbers(text: str | None) -> np.ndarray:
    """`[0.1, 0.2]` or `[3 4]` → its numbers."""
    words = "" if text is None else text.strip("[]() \n").replace(",", " ")
    return np.array(words.split(), dtype=np.float64)


def vectors(column: pa.Array, source: str) -> np.ndarray:
    """Cells that are vectors of one size → float32 [n, size]; a NaN is read as 0. Raises `DataError` for different sizes."""
    lengths, values = ragged(column, source)
    if len(set(lengths.tolist())) > 1 or (len(lengths) and lengths[0] == 0):
        raise DataError(f"{source} has vectors of different sizes: {sorted(set(lengths.tolist()))[:5]}")
    return finite(values, source).reshape(len(lengths), -1)


def finite(values: np.ndarray, source: str) -> np.ndarray:
    """Numbers as float32, NaN as 0. Raises `DataError` for an infinite one."""
    if np.isinf(values).any():
        raise DataError(f"{source} holds an infinite value")
    return np.nan_to_num(values, nan=0.0).astype(np.float32)


def side_by_side(columns: Sequence[pa.Array], source: str) -> np.ndarray:
    """A vector spread over columns → float32 [n, size]; a missing number is read as 0."""
    parts = [column.to_numpy(zero_copy_only=False).astype(np.float64) for column in columns]
    return finite(np.stack(parts, axis=1), source)
