"""Metrics against ranx, and the two ways to a rank against each other."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from sparcode_es.data.dataset import Cases
from sparcode_es.evaluation.metrics import KS, case_metrics, coverage, ranks_in_lists
from sparcode_es.evaluation.ranking import rank_cases, rank_metrics

USERS, ITEMS = 40, 120


@pytest.fixture
def cases() -> Cases:
    rng = np.random.default_rng(0)
    histories = [rng.choice(ITEMS, rng.integers(1, 20), replace=False) for _ in range(USERS)]
    targets = [
        rng.choice(np.setdiff1d(np.arange(ITEMS), history), rng.integers(1, 9), replace=False) for history in histories
    ]
    offsets = [np.cumsum([0, *map(len, parts)]).astype(np.uint64) for parts in (histories, targets)]
    return Cases(
        np.arange(USERS, dtype=np.uint32),
        offsets[0],
        np.concatenate(histories).astype(np.uint32),
        offsets[1],
        np.concatenate(targets).astype(np.uint32),
    )


@pytest.fixture
def scores() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(USERS, ITEMS)).astype(np.float32)


@pytest.mark.slow
def test_against_ranx(cases: Cases, scores: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")  # ranx compiles for half a minute what runs here in two seconds
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from ranx import Qrels, Run, evaluate

        qrels = Qrels({str(u): {str(i): 1 for i in cases.targets[u]} for u in range(USERS)})
        run = Run({str(u): {str(i): float(s) for i, s in enumerate(scores[u])} for u in range(USERS)})
        names = [f"{name}@{k}" for name in ("precision", "recall", "ndcg") for k in KS]
        expected = evaluate(qrels, run, names)
    found = rank_metrics(lambda rows: scores[rows], cases, ITEMS, batch=7)["all"]
    assert {name: found[name] for name in names} == pytest.approx(
        {name: float(expected[name]) for name in names}, abs=1e-6
    )


@pytest.mark.parametrize("tied", [False, True])
def test_lists_and_scores_agree_in_both_views(cases: Cases, scores: np.ndarray, tied: bool) -> None:
    scores = np.round(scores * 4) if tied else scores
    ranking = rank_cases(lambda rows: scores[rows], cases, ITEMS, batch=16)
    for view in ("all", "unseen"):
        lists = []
        for user in range(USERS):
            order = np.argsort(-scores[user])
            lists.append(order if view == "all" else order[~np.isin(order, cases.history[user])])
        listed = [scores[user][items] for user, items in enumerate(lists)]
        ranks, ties = ranks_in_lists(lists, listed, cases.target_items, cases.target_offsets)
        np.testing.assert_array_equal(ranks, ranking.ranks[view])
        np.testing.assert_array_equal(ties, ranking.ties[view])
        assert bool((ties > 1).any()) is tied
        for k in KS:
            assert tied or ranking.coverage[view, k] == pytest.approx(coverage(lists, ITEMS, k))


def test_a_tie_takes_the_middle(cases: Cases) -> None:
    ranking = rank_cases(lambda rows: np.zeros((len(rows), ITEMS)), cases, ITEMS)
    assert set(ranking.ranks["all"].tolist()) == {(ITEMS - 1) / 2}


def test_a_target_that_the_user_had_before_is_a_miss_among_unseen_items() -> None:
    items = np.array([0, 1, 2], dtype=np.uint32)
    both = Cases(
        np.zeros(1, np.uint32), np.array([0, 3], np.uint64), items, np.array([0, 2], np.uint64), np.array([2, 3])
    )
    found = rank_cases(lambda rows: np.array([[0.0, 0.0, 9.0, 1.0, 2.0]], dtype=np.float32), both, 5)
    assert found.ranks["all"].tolist() == [0.0, 2.0]
    assert found.ranks["unseen"].tolist() == [np.inf, 1.0]
    assert found.ties["unseen"].tolist() == [1.0, 1.0]
    found = rank_cases(lambda rows: np.array([[0.0, 0.0, 9.0, 1.0, 2.0]], dtype=np.float32), both, 5, views=("unseen",))
    assert found.ranks["unseen"].tolist() == [np.inf, 1.0]


def test_a_target_that_is_not_returned_is_no_hit() -> None:
    found = case_metrics(np.array([0.0, np.inf]), np.array([0, 2]), (5,))
    assert found["recall@5"].tolist() == [0.5]
    assert found["precision@5"].tolist() == [0.2]


def test_a_case_without_targets_is_refused() -> None:
    with pytest.raises(ValueError, match="without a target"):
        case_metrics(np.array([0.0]), np.array([0, 1, 1]))


def test_the_order_of_views_changes_nothing() -> None:
    cases = Cases(
        np.zeros(1, np.int64),
        np.array([0, 1], np.uint64),
        np.array([2], np.uint32),
        np.array([0, 1], np.uint64),
        np.array([1], np.uint32),
    )
    orders = [
        rank_cases(lambda rows: np.array([[0.0, 1.0, 2.0]], np.float32), cases, 3, views=views)
        for views in (("all", "unseen"), ("unseen", "all"))
    ]
    for view, rank in (("all", 1), ("unseen", 0)):
        assert [order.ranks[view].tolist() for order in orders] == [[rank]] * 2
