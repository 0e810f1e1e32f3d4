"""Deezer's convention against scikit-learn and against the definitions, with and without ties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from sparcode_es.data.dataset import Cases, Dataset
from sparcode_es.evaluation.metrics import KS, convention_of, measure_ranks, ranks_in_lists
from sparcode_es.evaluation.ranking import rank_metrics

ITEMS = 90


def cases_of(targets: list[np.ndarray]) -> Cases:
    offsets = np.cumsum([0, *map(len, targets)]).astype(np.uint64)
    empty = np.zeros(len(targets) + 1, dtype=np.uint64)
    users = np.arange(len(targets), dtype=np.uint32)
    return Cases(users, empty, np.zeros(0, np.uint32), offsets, np.concatenate(targets).astype(np.uint32))


@given(st.integers(0, 10_000), st.sampled_from([1, 2, 5, 1000]))
def test_against_scikit_learn(seed: int, levels: int) -> None:
    """`levels` different scores: with few, there are many ties, and ties that reach over k."""
    rng = np.random.default_rng(seed)
    targets = [rng.choice(ITEMS, rng.integers(1, 80), replace=False) for _ in range(6)]
    scores = rng.integers(levels, size=(6, ITEMS)).astype(np.float32)
    relevant = np.zeros((6, ITEMS))
    for user, own in enumerate(targets):
        relevant[user, own] = 1
    found = rank_metrics(lambda rows: scores[rows], cases_of(targets), ITEMS, batch=4, convention="deezer")["all"]
    for k in KS:
        assert found[f"ndcg@{k}"] == pytest.approx(ndcg_score(relevant, scores, k=k), abs=1e-9)


def test_precision_divides_by_the_shorter_of_k_and_the_songs_listened() -> None:
    """As in Briand et al.: hits / min(k, listened), hits / listened."""
    rng = np.random.default_rng(3)
    targets = [rng.choice(ITEMS, size, replace=False) for size in (1, 3, 7, 30, 80)]
    scores = rng.permuted(np.tile(np.arange(ITEMS, dtype=np.float32), (5, 1)), axis=1)
    cases = cases_of(targets)
    found = rank_metrics(lambda rows: scores[rows], cases, ITEMS, convention="deezer")["all"]
    standard = rank_metrics(lambda rows: scores[rows], cases, ITEMS)["all"]
    for k in KS:
        top = [set(np.argsort(-row)[:k].tolist()) for row in scores]
        hits = [len(best & set(own.tolist())) for best, own in zip(top, targets, strict=True)]
        precision = [h / min(k, len(own)) for h, own in zip(hits, targets, strict=True)]
        assert found[f"precision@{k}"] == pytest.approx(np.mean(precision))
        recall = np.mean([h / len(own) for h, own in zip(hits, targets, strict=True)])
        assert found[f"recall@{k}"] == pytest.approx(recall)
        assert standard[f"precision@{k}"] == pytest.approx(np.mean(hits) / k)
        assert standard[f"ndcg@{k}"] == pytest.approx(found[f"ndcg@{k}"])


def test_an_order_drawn_among_ties_has_the_shared_metrics_on_average() -> None:
    rng = np.random.default_rng(0)
    targets, scores = [np.array([1, 4, 8])], np.array([[3, 2, 2, 2, 2, 2, 1, 1, 1, 0]], dtype=np.float32)
    shared = rank_metrics(lambda rows: scores[rows], cases_of(targets), 10, (5,), convention="deezer")["all"]
    drawn = [
        rank_metrics(lambda rows: scores[rows] + 0.1 * rng.random((1, 10)), cases_of(targets), 10, (5,))["all"]
        for _ in range(4000)
    ]
    for name in ("recall@5", "ndcg@5"):
        assert np.mean([found[name] for found in drawn]) == pytest.approx(shared[name], abs=0.01)


def test_an_item_that_is_not_returned_is_a_miss() -> None:
    targets = np.array([3, 5])
    ranks, ties = ranks_in_lists([np.array([5, 1, 2])], [np.array([3.0, 2.0, 1.0])], targets, np.array([0, 2]))
    found = measure_ranks(ranks, ties, np.array([0, 2]), (5,), "deezer")
    assert found["recall@5"].tolist() == [0.5]
    assert found["precision@5"].tolist() == [0.5]


def test_data_with_cold_users_are_measured_as_deezers(deezer: Dataset) -> None:
    assert convention_of(deezer) == "deezer"
