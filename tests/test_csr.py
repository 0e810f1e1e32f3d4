"""Rows end to end are those that went in."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparcode_es import csr

LENGTHS = st.lists(st.integers(0, 4), max_size=6)


@given(LENGTHS)
def test_offsets_and_owners(lengths: list[int]) -> None:
    offsets = csr.offsets_of(lengths)
    assert offsets.dtype == np.uint64
    assert offsets.tolist() == [sum(lengths[:row]) for row in range(len(lengths) + 1)]
    found = csr.owners(offsets)
    assert found.dtype == np.int64
    assert found.tolist() == [row for row, length in enumerate(lengths) for _ in range(length)]


def test_owners_of_some_rows() -> None:
    assert csr.owners(np.array([7, 9, 9, 10], dtype=np.uint64)).tolist() == [0, 0, 2]


@given(st.lists(st.tuples(st.integers(-9, 9), st.integers(0, 4)), max_size=6))
def test_ranges(rows: list[tuple[int, int]]) -> None:
    starts, lengths = np.array(rows, dtype=np.int64).reshape(-1, 2).T
    found = csr.ranges(starts, lengths)
    assert found.dtype == np.int64
    assert found.tolist() == [start + place for start, length in rows for place in range(length)]
    assert csr.ranges(0, lengths).tolist() == [place for _, length in rows for place in range(length)]


@pytest.mark.parametrize("lengths", [np.array([True, False, True]), np.array([1, 0, 1], dtype=np.uint32), [1, 0, 1]])
def test_lengths_of_any_kind(lengths: np.ndarray) -> None:
    assert csr.offsets_of(lengths).tolist() == [0, 1, 1, 2]
