"""Ranking every item for every case, from dense scores: what validation and the baselines' rows are measured with.

Two views of one ranking: `all` ranks every item; `unseen` leaves out the items of the case's history. A target that is one of
them is a miss there, as it is for a user who is shown new items only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sparcode_es.data.dataset import Cases, ScoreFunction
from sparcode_es.errors import TrainingError
from sparcode_es.evaluation.metrics import KS, Convention, measure_ranks

VIEWS = ("all", "unseen")


@dataclass(frozen=True)
class Ranking:
    """view → ranks of the cases' targets, float64 [T], and how many items have each one's score, float64 [T]; and
    (view, k) → the share of items shown in any first k, for the ks that were asked for."""

    ranks: dict[str, np.ndarray]
    ties: dict[str, np.ndarray]
    coverage: dict[tuple[str, int], float]


def rank_cases(
    scores: ScoreFunction,
    cases: Cases,
    num_items: int,
    ks: Sequence[int] = KS,
    batch: int = 256,
    views: Sequence[str] = VIEWS,
) -> Ranking:
    """Rank all items by `scores` for each case. A tie takes its mid-rank; scores of -inf are never shown.

    ks: of which coverage is wanted; it sorts every case's first items, most of the time of a ranking. () for none.
    """
    ranks, ties = ({view: np.empty(len(cases.target_items)) for view in views} for _ in range(2))
    shown = {(view, k): np.zeros(num_items, dtype=bool) for view in views for k in ks}
    for begin in range(0, len(cases), batch):
        rows = np.arange(begin, min(begin + batch, len(cases)))
        block = np.array(scores(rows), dtype=np.float32)
        if np.isnan(block).any():
            raise TrainingError(
                "the model's scores are not numbers (NaN): it has diverged; train with a lower learning rate"
            )
        low, high = int(cases.target_offsets[begin]), int(cases.target_offsets[rows[-1] + 1])
        owners = np.repeat(rows, _lengths(cases.target_offsets, rows)) - begin
        targets = cases.target_items[low:high]
        for view in sorted(views):  # `all` first: `unseen` leaves items out of the block
            if view == "unseen":
                _mask_seen(block, cases, rows)
            ranks[view][low:high], ties[view][low:high] = _mid_ranks(block, owners, block[owners, targets])
            if ks:
                _mark_shown(block, ks, view, shown)
    return Ranking(ranks, ties, {key: float(mask.mean()) for key, mask in shown.items()})


def rank_metrics(
    scores: ScoreFunction,
    cases: Cases,
    num_items: int,
    ks: Sequence[int] = KS,
    batch: int = 256,
    convention: Convention = "standard",
    views: Sequence[str] = VIEWS,
    coverage: bool = True,
) -> dict[str, dict[str, float]]:
    """Mean metrics over the cases: view → {"recall@10": …, "ndcg@10": …, "precision@10": …, "coverage@10": …}."""
    ranking = rank_cases(scores, cases, num_items, ks if coverage else (), batch, views)
    return mean_metrics(ranking, cases, ks, convention)


def mean_metrics(
    ranking: Ranking, cases: Cases, ks: Sequence[int] = KS, convention: Convention = "standard"
) -> dict[str, dict[str, float]]:
    """See `rank_metrics`, of a ranking that is there."""
    found: dict[str, dict[str, float]] = {}
    for view, ranks in ranking.ranks.items():
        by_case = measure_ranks(ranks, ranking.ties[view], cases.target_offsets, ks, convention)
        found[view] = {name: float(values.mean()) for name, values in by_case.items()}
        found[view] |= {f"coverage@{k}": share for (of, k), share in ranking.coverage.items() if of == view}
    return found


def _lengths(offsets: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The lengths of consecutive CSR rows, int64 [B]."""
    ends = offsets[rows + 1].astype(np.int64)
    lengths: np.ndarray = ends - offsets[rows].astype(np.int64)
    return lengths


def _mask_seen(block: np.ndarray, cases: Cases, rows: np.ndarray) -> None:
    low, high = int(cases.history_offsets[rows[0]]), int(cases.history_offsets[rows[-1] + 1])
    block[np.repeat(rows - rows[0], _lengths(cases.history_offsets, rows)), cases.history_items[low:high]] = -np.inf


def _mid_ranks(block: np.ndarray, owners: np.ndarray, own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many items stand before each target, ties counted half, and how many have its score; infinite and 1 where that is -inf.

    block: [B, I], owners: rows [t], own: scores [t].
    """
    # Row by row: numpy counts the ones of a whole array many times faster than those of each row of a table.
    ties = np.array([np.count_nonzero(block[row] == score) for row, score in zip(owners, own, strict=True)], np.float64)
    before = [np.count_nonzero(block[row] > score) for row, score in zip(owners, own, strict=True)]
    shown = own > -np.inf
    return np.where(shown, np.array(before, np.float64) + (ties - 1) / 2, np.inf), np.where(shown, ties, 1.0)


def _mark_shown(block: np.ndarray, ks: Sequence[int], view: str, shown: dict[tuple[str, int], np.ndarray]) -> None:
    most = min(max(ks), block.shape[1])
    top = np.argpartition(-block, most - 1, axis=1)[:, :most]
    top = np.take_along_axis(top, np.argsort(-np.take_along_axis(block, top, axis=1), axis=1, kind="stable"), axis=1)
    possible = np.isfinite(np.take_along_axis(block, top, axis=1))
    for k in ks:
        shown[view, k][top[:, :k][possible[:, :k]]] = True
