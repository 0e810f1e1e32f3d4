"""The training counts of item codes, against counting by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparcode_es.config import ItemCodesConfig
from sparcode_es.data.dataset import Sequences
from sparcode_es.errors import ConfigError
from sparcode_es.training.memory import item_counts

ITEMS = 6
histories = st.lists(st.lists(st.integers(0, ITEMS - 1), max_size=9), max_size=5)


@given(histories, st.integers(1, 12), st.floats(0.1, 1), st.integers(0, 99))
def test_each_event_counts_the_items_of_the_window_before_it(
    rows: list[list[int]], window: int, decay: float, seed: int
) -> None:
    offsets = np.cumsum([0, *map(len, rows)]).astype(np.uint64)
    items = np.array([item for row in rows for item in row], dtype=np.uint32)
    counted = np.random.default_rng(seed).random(len(items)) < 0.5
    expected, some = np.zeros((ITEMS, ITEMS)), np.zeros((ITEMS, ITEMS))
    for start, row in zip(offsets.tolist(), rows, strict=False):
        for place, item in enumerate(row):
            for lag, before in enumerate(reversed(row[max(place - window, 0) : place])):
                expected[before, item] += decay**lag
                some[before, item] += decay**lag * counted[start + place]
    config = ItemCodesConfig(latest=2, decay=0.5, window=window, window_decay=decay)
    sequences = Sequences(offsets, items, np.arange(len(rows), dtype=np.uint32))
    np.testing.assert_allclose(item_counts(config, sequences, ITEMS).toarray(), expected, rtol=1e-12)
    np.testing.assert_allclose(item_counts(config, sequences, ITEMS, counted).toarray(), some, rtol=1e-12)


@pytest.mark.parametrize("settings", [{"window": 0}, {"window": 257}, {"window_decay": 0.0}, {"window_decay": 1.1}])
def test_a_window_that_counts_nothing_or_grows_is_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=r"item_codes\.window"):
        ItemCodesConfig(**settings)  # type: ignore[arg-type]
