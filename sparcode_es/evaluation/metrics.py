"""Precision, recall and NDCG at k from the ranks of the targets.

A case is a history and its targets. The rank of a target is its place in the ranked list, 0 for the best; infinite when it
is not in the list. A tie takes the middle of the places it could have.

Two conventions. `standard`: precision divides by k, ties as above. `deezer`, that of Briand et al. (KDD '21): precision
divides by min(k, targets), and tied items share the hits and gains of their places, as in scikit-learn's `ndcg_score` over
all items. Recall and, without ties, NDCG are the same. Data whose split is `given` are measured as Deezer's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from sparcode_es.data.dataset import Dataset

KS = (5, 10, 20, 50)
NAMES = ("precision", "recall", "ndcg")
Convention = Literal["standard", "deezer"]


def convention_of(dataset: Dataset) -> Convention:
    """The convention that a data folder is measured by, unless one is named."""
    return "deezer" if dataset.has_cold_users else "standard"


def case_metrics(ranks: np.ndarray, offsets: np.ndarray, ks: Sequence[int] = KS) -> dict[str, np.ndarray]:
    """Metrics of each case: ranks float64 [T] of the targets in CSR order, offsets [n + 1] → name → float64 [n].

    precision@k divides the hits by k, recall@k by the number of targets; NDCG has gain 1 a target and the ideal list of
    min(k, targets) of them. A case without targets is an error: there is nothing to find.
    """
    offsets = offsets.astype(np.int64)
    counts = _targets(offsets)
    gains = 1 / np.log2(ranks + 2)
    ideal = np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(2, max(ks) + 2)))])
    found = {}
    for k in ks:
        hit = ranks < k
        hits = np.add.reduceat(hit.astype(np.float64), offsets[:-1])
        found[f"precision@{k}"] = hits / k
        found[f"recall@{k}"] = hits / counts
        found[f"ndcg@{k}"] = np.add.reduceat(np.where(hit, gains, 0.0), offsets[:-1]) / ideal[np.minimum(counts, k)]
    return found


def measure_ranks(
    ranks: np.ndarray,
    ties: np.ndarray,
    offsets: np.ndarray,
    ks: Sequence[int] = KS,
    convention: Convention = "standard",
) -> dict[str, np.ndarray]:
    """Metrics of each case by a convention: ranks and ties (how many items have the target's score) float64 [T]."""
    if convention == "standard":
        return case_metrics(ranks, offsets, ks)
    return _shared_metrics(ranks, ties, offsets, ks)


def _targets(offsets: np.ndarray) -> np.ndarray:
    """How many targets each case has, int64 [n]."""
    counts: np.ndarray = np.diff(offsets)
    if (counts == 0).any():
        raise ValueError("a case without a target cannot be measured")
    return counts


def _shared_metrics(
    ranks: np.ndarray, ties: np.ndarray, offsets: np.ndarray, ks: Sequence[int]
) -> dict[str, np.ndarray]:
    """`deezer`: a target among t equal scores has 1/t of the hits and the gains of their t places."""
    offsets = offsets.astype(np.int64)
    counts = _targets(offsets)
    begins = ranks - (ties - 1) / 2
    gains = np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(2, max(ks) + 2)))])
    found = {}
    for k in ks:
        first, last = (np.clip(place, 0, k).astype(np.int64) for place in (begins, begins + ties))
        hits = np.add.reduceat((last - first) / ties, offsets[:-1])
        found[f"precision@{k}"] = hits / np.minimum(counts, k)
        found[f"recall@{k}"] = hits / counts
        shared = np.add.reduceat((gains[last] - gains[first]) / ties, offsets[:-1])
        found[f"ndcg@{k}"] = shared / gains[np.minimum(counts, k)]
    return found


def ranks_in_lists(
    lists: Sequence[np.ndarray], scores: Sequence[np.ndarray], targets: np.ndarray, offsets: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Ranks of the targets in n lists of item numbers, best first, a tie's their middle, and how many of the list have the
    target's score, float64 [T]; infinite and 1 for one that is not in the list. scores: the lists'; targets [T], offsets [n + 1].
    """
    ranks, ties = np.full(len(targets), np.inf), np.ones(len(targets))
    for case, (ranked, found) in enumerate(zip(lists, scores, strict=True)):
        for place in range(int(offsets[case]), int(offsets[case + 1])):
            at = np.flatnonzero(ranked == targets[place])
            if len(at):
                tied = np.flatnonzero(found == found[at[0]])
                ranks[place], ties[place] = tied.mean(), len(tied)
    return ranks, ties


def coverage(lists: Sequence[np.ndarray], num_items: int, k: int) -> float:
    """The share of all items that stand in the first k places of any list."""
    shown = np.zeros(num_items, dtype=bool)
    for ranked in lists:
        shown[ranked[:k]] = True
    return float(shown.mean())
