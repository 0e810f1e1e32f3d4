"""Quality through an engine: the cases' codes are asked for, and the returned lists are measured."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

from sparcode_es.codes import UserCodes, clauses_of
from sparcode_es.data.dataset import Cases
from sparcode_es.engines.base import Clause, Engine, Query
from sparcode_es.evaluation.metrics import KS, Convention, coverage, ranks_in_lists
from sparcode_es.evaluation.ranking import VIEWS, Ranking, mean_metrics
from sparcode_es.tables import StringTable

BATCH = 256
BEYOND = 50
"""Places that are asked for beyond those measured, so that a tie across the last of them is seen as one."""


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

    Row c of `user_codes` belongs to case c. Only returned items count: a target that the engine scores 0 is a miss, and
    in `unseen`, as in `rank_metrics`, one that also lies in the history.
    """
    return mean_metrics(rank_by_engine(engine, cases, user_codes, item_ids, shared_heads, ks), cases, ks, convention)


def rank_by_engine(
    engine: Engine,
    cases: Cases,
    user_codes: UserCodes,
    item_ids: StringTable,
    shared_heads: bool,
    ks: Sequence[int] = KS,
) -> Ranking:
    """Where the cases' targets stand in the lists that the engine returns, ties by their scores; infinite for one that does
    not."""
    ranks: dict[str, np.ndarray] = {}
    ties: dict[str, np.ndarray] = {}
    shown: dict[tuple[str, int], float] = {}
    for view in VIEWS:
        lists, scores = _lists(
            engine, cases, user_codes, item_ids, shared_heads, max(ks) + BEYOND, unseen=view == "unseen"
        )
        ranks[view], ties[view] = ranks_in_lists(lists, scores, cases.target_items, cases.target_offsets)
        shown |= {(view, k): coverage(lists, len(item_ids), k) for k in ks}
    return Ranking(ranks, ties, shown)


def _lists(
    engine: Engine,
    cases: Cases,
    user_codes: UserCodes,
    item_ids: StringTable,
    shared_heads: bool,
    k: int,
    unseen: bool,
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The best k items of each case, int64, best first, and their scores, float64."""
    lists: list[np.ndarray] = []
    scores: list[np.ndarray] = []
    for start in tqdm(range(0, len(cases), BATCH), desc="asking", unit="batch", disable=None):
        queries = []
        for case in range(start, min(start + BATCH, len(cases))):
            exclude = _seen(cases, case, item_ids) if unseen else frozenset[str]()
            clauses: tuple[Clause, ...] = clauses_of(user_codes, case, shared_heads)
            queries.append(Query(clauses, k, exclude))
        for hits in engine.search_many(queries):
            lists.append(np.array([item_ids.find(hit.item) for hit in hits], dtype=np.int64))
            scores.append(np.array([hit.score for hit in hits], dtype=np.float64))
    return lists, scores


def _seen(cases: Cases, case: int, item_ids: StringTable) -> frozenset[str]:
    return frozenset(item_ids[int(number)] for number in cases.history[case])
