"""Quality through an engine: ties are told by the scores of what it returns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sparcode_es.codes import UserCodes
from sparcode_es.data.dataset import Cases
from sparcode_es.engines.base import Hit
from sparcode_es.serving.measure import rank_by_engine
from sparcode_es.tables import StringTable

ITEMS = 80


class Engine:
    """Returns items 0 … 79 in order, 8 … 27 of one score."""

    def search_many(self, queries: list[Any]) -> list[list[Hit]]:
        def score(item: int) -> float:
            return 80.5 if 8 <= item < 28 else 100.0 - item

        return [[Hit(f"i{item}", score(item)) for item in range(min(query.k, ITEMS))] for query in queries]


@pytest.mark.parametrize(("target", "rank", "ties"), [(3, 3, 1), (8, 17.5, 20), (27, 17.5, 20), (28, 28, 1)])
def test_a_tie_across_the_last_place_is_seen_whole(target: int, rank: float, ties: int) -> None:
    one = np.array([0, 1], dtype=np.uint64)
    cases = Cases(np.zeros(1, np.uint32), np.zeros(2, np.uint64), np.zeros(0, np.uint32), one, np.array([target]))
    codes = UserCodes(one, np.zeros((1, 2), np.uint32), np.ones(1, np.float32))
    ids = StringTable.build([f"i{item}" for item in range(ITEMS)])
    found = rank_by_engine(Engine(), cases, codes, ids, True, ks=(10,))  # type: ignore[arg-type]
    for view in ("all", "unseen"):
        assert (found.ranks[view].tolist(), found.ties[view].tolist()) == ([rank], [ties])
