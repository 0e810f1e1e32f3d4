"""Slices are what they say: their cases are those of a plain loop, and their metrics those of the cases alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sparcode_es.data.dataset import Cases
from sparcode_es.data.labels import TEST, TRAIN
from sparcode_es.evaluation.ranking import rank_cases, rank_metrics
from sparcode_es.evaluation.slices import quarters_of_events, quartiles, slices

ITEMS = 30


@dataclass
class Events:
    """What `slices` reads of a data folder."""

    items: np.ndarray
    labels: np.ndarray
    num_items: int = ITEMS


def world(seed: int, targets: int) -> tuple[Cases, Events, np.ndarray]:
    """12 cases of 1 to `targets` targets, and scores of all items."""
    rng = np.random.default_rng(seed)
    lengths, counts = rng.integers(0, 9, 12), rng.integers(1, targets + 1, 12)
    chosen = np.concatenate([rng.choice(ITEMS, count, replace=False) for count in counts])
    offsets = [np.concatenate([[0], np.cumsum(each)]).astype(np.uint64) for each in (lengths, counts)]
    history = rng.integers(0, ITEMS, lengths.sum()).astype(np.uint32)
    cases = Cases(np.arange(12, dtype=np.uint32), offsets[0], history, offsets[1], chosen.astype(np.uint32))
    items = rng.zipf(1.5, 200) % ITEMS
    labels = np.where(np.arange(200) < 150, TRAIN, TEST)
    return cases, Events(items, labels), rng.random((12, ITEMS)).astype(np.float32)


@given(st.integers(0, 10_000), st.sampled_from([1, 4]), st.sampled_from(["standard", "deezer"]))
def test_slices_are_those_of_a_loop(seed: int, targets: int, convention: str) -> None:
    cases, events, scores = world(seed, targets)
    ranking = rank_cases(lambda rows: scores[rows], cases, ITEMS)
    found = slices(ranking, cases, events, convention=convention)  # type: ignore[arg-type]
    counts = np.bincount(events.items[events.labels == TRAIN], minlength=ITEMS)
    lengths = [len(cases.history[case]) for case in range(12)]
    assert sum(each.cases for each in found["history"]) == 12
    for each in found["history"]:
        rows = np.array([case for case in range(12) if each.low <= lengths[case] <= each.high])
        own = cases.take(rows)
        alone = rank_metrics(lambda at, rows=rows: scores[rows[at]], own, ITEMS, convention=convention)  # type: ignore[arg-type]
        assert each.cases == len(rows)
        for view, metrics in each.metrics.items():
            np.testing.assert_allclose(list(metrics.values()), [alone[view][name] for name in metrics])
    for each in found["popularity"]:
        kept = [[t for t in cases.targets[case] if each.low <= counts[t] <= each.high] for case in range(12)]
        ranks = [[int((scores[case] > scores[case][t]).sum()) for t in own] for case, own in enumerate(kept)]
        assert each.cases == sum(map(bool, kept))
        recall = np.mean([np.mean([rank < 10 for rank in own]) for own in ranks if own])
        np.testing.assert_allclose(each.metrics["all"]["recall@10"], recall)
    ranges = [(each.low, each.high) for own in found.values() for each in own]
    assert all(low <= high for low, high in ranges)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=60))
def test_quarters(values: list[int]) -> None:
    """Order is kept, equals stay together, and no quarter but that of one size is more than its share and its last size."""
    events = np.array(values)
    for groups in (quartiles(events), quarters_of_events(events)):
        order = np.argsort(events, kind="stable")
        assert (np.diff(groups[order]) >= 0).all()
        assert all(len(set(groups[events == each])) == 1 for each in values)
    quarters = quarters_of_events(events)
    assert set(quarters[events == 0]) <= {0}
    assert set(quarters[events > 0]) <= {1, 2, 3, 4}
    if events.any():
        assert quarters[events.argmax()] == 4
    for quarter in (1, 2, 3, 4):
        own = events[quarters == quarter]
        if len(own):
            assert own[own > own.min()].sum() <= events.sum() / 4


def test_known_quarters() -> None:
    assert quartiles(np.arange(8)).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert quartiles(np.full(5, 7)).tolist() == [0] * 5
    assert quarters_of_events(np.array([0, 4, 1, 1, 1, 1, 4, 4])).tolist() == [0, 4, 1, 1, 1, 1, 4, 4]
    assert quarters_of_events(np.zeros(3, dtype=np.int64)).tolist() == [0, 0, 0]
