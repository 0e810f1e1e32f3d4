"""Quality through an engine: the cases' codes are asked for, and the returned lists are measured."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

from sparcode_es.codes import UserCodes, clauses_of
from sparcode_es.data.dataset import Cases
from sparcode_es.engines.base import Clause, Engine, Query
from sparcode_es.evaluation.metrics import KS, Convention, coverage, measure_ranks, ranks_in_lists
from sparcode_es.tables import StringTable

BATCH = 256


def measure(
    engine: Engine,
    cases: Cases,
    user_codes: UserCodes,
    item_ids: StringTable,
    shared_heads: bool,
    ks: Sequence[int] = KS,
    convention: Convention = "standard",
) -> dict[str, dict[str, float]]:
    """`{"all": {"recall@10": …, "coverage@10": …}, "unseen": {…}}`: every item, and without those of the history.

    Row c of `user_codes` belongs to case c. Only returned items count: a target that the engine scores 0 is a miss. As
    in `rank_metrics`, a target that also lies in the history stays in the `unseen` lists.
    """
    return {
        "all": _view(engine, cases, user_codes, item_ids, shared_heads, ks, convention, unseen=False),
        "unseen": _view(engine, cases, user_codes, item_ids, shared_heads, ks, convention, unseen=True),
    }


def _view(
    engine: Engine,
    cases: Cases,
    user_codes: UserCodes,
    item_ids: StringTable,
    shared_heads: bool,
    ks: Sequence[int],
    convention: Convention,
    unseen: bool,
) -> dict[str, float]:
    lists: list[np.ndarray] = []
    for start in tqdm(range(0, len(cases), BATCH), desc="asking", unit="batch", disable=None):
        queries = []
        for case in range(start, min(start + BATCH, len(cases))):
            exclude = _seen(cases, case, item_ids) if unseen else frozenset[str]()
            clauses: tuple[Clause, ...] = clauses_of(user_codes, case, shared_heads)
            queries.append(Query(clauses, max(ks), exclude))
        for hits in engine.search_many(queries):
            lists.append(np.array([item_ids.find(hit.item) for hit in hits], dtype=np.int64))
    ranks = ranks_in_lists(lists, cases.target_items, cases.target_offsets)
    by_case = measure_ranks(ranks, np.ones_like(ranks), cases.target_offsets, ks, convention)
    found = {name: float(values.mean()) for name, values in by_case.items()}
    return found | {f"coverage@{k}": coverage(lists, len(item_ids), k) for k in ks}


def _seen(cases: Cases, case: int, item_ids: StringTable) -> frozenset[str]:
    numbers = np.setdiff1d(cases.history[case], cases.targets[case])
    return frozenset(item_ids[int(number)] for number in numbers)
