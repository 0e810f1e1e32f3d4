"""Runs: whatever comes in, in whatever pieces, comes out by code, and the files are gone after."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sparcode_es.postings.runs import Runs


@settings(max_examples=60)
@given(
    seed=st.integers(0, 999),
    num_codes=st.sampled_from([1, 3, 70_000]),
    postings=st.integers(0, 60),
    pieces=st.integers(1, 9),
    held=st.integers(1, 50),
)
def test_by_item_in_by_code_out(seed: int, num_codes: int, postings: int, pieces: int, held: int) -> None:
    rng = np.random.default_rng(seed)
    items = np.sort(rng.integers(0, 1000, postings))
    codes, grid = rng.integers(0, num_codes, postings), rng.integers(1, 999, postings).astype(np.uint16)
    with tempfile.TemporaryDirectory() as folder:
        with Runs(Path(folder), num_codes, held) as runs:
            for part in np.array_split(np.arange(postings), pieces):
                runs.add(codes[part], items[part], grid[part])
            found = list(runs)
        assert list(Path(folder).iterdir()) == []
    assert len(found) == num_codes
    for code in {*codes.tolist(), 0}:
        np.testing.assert_array_equal(found[code][0], items[codes == code])
        np.testing.assert_array_equal(found[code][1], grid[codes == code])
    assert sum(len(numbers) for numbers, _ in found) == postings
