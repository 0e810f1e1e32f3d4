"""Precision, recall and NDCG at k from the ranks of the targets.

A case is a history and its targets. The rank of a target is its place in the ranked list, 0 for the best; infinite when it
is not in the list. A tie takes the middle of the places it could have.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

KS = (5, 10, 20, 50)
NAMES = ("precision", "recall", "ndcg")


def case_metrics(ranks: np.ndarray, offsets: np.ndarray, ks: Sequence[int] = KS) -> dict[str, np.ndarray]:
    """Metrics of each case: ranks float64 [T] of the targets in CSR order, offsets [n + 1] → name → float64 [n].

    precision@k divides the hits by k, recall@k by the number of targets; NDCG has gain 1 a target and the ideal list of
    min(k, targets) of them. A case without targets is an error: there is nothing to find.
    """
    offsets = offsets.astype(np.int64)
    counts = np.diff(offsets)
    if (counts == 0).any():
        raise ValueError("a case without a target cannot be measured")
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


def ranks_in_lists(lists: Sequence[np.ndarray], targets: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Ranks of the targets in lists of item numbers, best first: n lists, targets [T], offsets [n + 1] → float64 [T]."""
    ranks = np.full(len(targets), np.inf)
    for case, ranked in enumerate(lists):
        for place in range(int(offsets[case]), int(offsets[case + 1])):
            at = np.flatnonzero(ranked == targets[place])
            if len(at):
                ranks[place] = at[0]
    return ranks


def coverage(lists: Sequence[np.ndarray], num_items: int, k: int) -> float:
    """The share of all items that stand in the first k places of any list."""
    shown = np.zeros(num_items, dtype=bool)
    for ranked in lists:
        shown[ranked[:k]] = True
    return float(shown.mean())
