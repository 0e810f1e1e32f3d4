"""The pass over the codes of an update, on its own."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from sparcode_es.postings.rows import CodePostings
from sparcode_es.postings.update import _note_changes, _Written


def noted(old: dict[int, int], new: dict[int, int], num_items: int) -> _Written:
    """What is noted when the postings of a code, item → grid value, change."""
    written = _Written(np.array([len(old)]), np.zeros(num_items, dtype=bool))
    before, after = (
        (np.array(sorted(each), dtype=np.uint32), np.array([each[item] for item in sorted(each)], dtype=np.uint16))
        for each in (old, new)
    )
    _note_changes(written, 0, before, CodePostings(*after, 0.0))
    return written


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ({}, {}, []),
        ({1: 5, 3: 7}, {1: 5, 3: 7}, []),
        ({1: 5, 3: 7}, {1: 5, 3: 8}, [3]),
        ({1: 5, 3: 7}, {3: 7}, [1]),
        ({3: 7}, {0: 2, 3: 7, 9: 1}, [0, 9]),
        ({1: 5, 3: 7}, {2: 5, 3: 7}, [1, 2]),
        ({}, {4: 1}, [4]),
        ({4: 1}, {}, [4]),
    ],
)
def test_which_items_changed(old: dict[int, int], new: dict[int, int], changed: list[int]) -> None:
    written = noted(old, new, 10)
    assert np.flatnonzero(written.changed_items).tolist() == changed
    assert written.changed == len(changed)
    assert written.counts.tolist() == [len(new)]


def test_a_code_costs_its_postings_not_all_items() -> None:
    written = _Written(np.zeros(1, dtype=np.int64), np.zeros(1_000_000, dtype=bool))
    one, two = (np.array([item], dtype=np.uint32) for item in (7, 999_999))
    grid = np.array([3], dtype=np.uint16)
    tracemalloc.start()
    _note_changes(written, 0, (one, grid), CodePostings(two, grid, 0.0))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000
    assert np.flatnonzero(written.changed_items).tolist() == [7, 999_999]
