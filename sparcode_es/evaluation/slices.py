"""Quality by slice: by the length of a case's history, and by how often its target is met in training.

A slice is a share of the targets, measured on those alone: a case of several targets may stand in several slices of
popularity, and has its metrics from the targets of each (recall divides by them, NDCG's ideal list holds them).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparcode_es import csr
from sparcode_es.data.dataset import Cases, Dataset
from sparcode_es.data.labels import TRAIN
from sparcode_es.evaluation.metrics import KS, Convention, measure_ranks
from sparcode_es.evaluation.ranking import VIEWS, Ranking

QUARTERS = 4
MEASURED = ("recall", "ndcg")


@dataclass(frozen=True)
class Slice:
    """Some of the cases."""

    low: int
    """The fewest events that make a history, or an item, of this slice."""
    high: int
    """The most."""
    cases: int
    metrics: dict[str, dict[str, float]]
    """View → {"recall@10": …, "ndcg@10": …}."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"low": self.low, "high": self.high, "cases": self.cases, **self.metrics}


def slices(
    ranking: Ranking, cases: Cases, dataset: Dataset, ks: Sequence[int] = KS, convention: Convention = "standard"
) -> dict[str, list[Slice]]:
    """{"history": […], "popularity": […]}, each from few events to many, without slices that no case is in.

    history: quartiles of the cases; histories of one length stay together. popularity: items by their training events, each
    slice a quarter of the events; items of as many events stay together, those of none are a slice of their own.
    """
    lengths: np.ndarray = np.diff(cases.history_offsets.astype(np.int64))
    events = np.bincount(dataset.items[dataset.labels == TRAIN], minlength=dataset.num_items)
    quartile, popularity = quartiles(lengths), quarters_of_events(events)
    sliced: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]] = {
        "history": (quartile[cases.targets.owners], lengths, quartile),
        "popularity": (popularity[cases.target_items], events, popularity),
    }
    found: dict[str, list[Slice]] = {}
    for name, (groups, sizes, of_size) in sliced.items():
        found[name] = []
        for group in np.unique(groups).tolist():
            own = sizes[of_size == group]
            measured = _measured(ranking, cases.target_offsets, groups == group, ks, convention)
            found[name].append(Slice(int(own.min()), int(own.max()), *measured))
    return found


def quartiles(lengths: np.ndarray) -> np.ndarray:
    """The quartile of each, int64 [n] → int64 [n]; what is equal is in one, so there may be fewer."""
    edges = np.quantile(lengths, np.arange(1, QUARTERS) / QUARTERS, method="inverted_cdf")
    return np.searchsorted(np.unique(edges), lengths, side="left")


def quarters_of_events(events: np.ndarray) -> np.ndarray:
    """Which quarter of all events an item with as many is in, the most popular in the last: int64 [I] → 1 … 4; 0 for no event."""
    sizes, levels, items = np.unique(events, return_inverse=True, return_counts=True)
    above = events.sum() - np.cumsum(sizes * items)
    quarter: np.ndarray = QUARTERS - QUARTERS * above // max(int(events.sum()), 1)
    return np.where(events > 0, quarter[levels], 0)


def _measured(
    ranking: Ranking, offsets: np.ndarray, kept: np.ndarray, ks: Sequence[int], convention: Convention
) -> tuple[int, dict[str, dict[str, float]]]:
    """How many cases have a target that is kept, bool [T], and the mean metrics of those."""
    counts = np.add.reduceat(kept.astype(np.int64), offsets[:-1].astype(np.int64))
    own = csr.offsets_of(counts[counts > 0])
    found = {}
    for view in VIEWS:
        by_case = measure_ranks(ranking.ranks[view][kept], ranking.ties[view][kept], own, ks, convention)
        found[view] = {f"{name}@{k}": float(by_case[f"{name}@{k}"].mean()) for name in MEASURED for k in ks}
    return len(own) - 1, found
