"""Faiss behind a two-tower: the exact index is the dense ranking, the others come near it."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparcode_es.baselines.two_tower import TwoTower
from sparcode_es.config import load_config
from sparcode_es.data.dataset import Cases
from sparcode_es.engines.faiss import HNSW, IVFPQ, NOTHING, FaissIndex, FlatIP
from sparcode_es.errors import ConfigError, MissingExtraError

pytest.importorskip("faiss")


def dense(items: np.ndarray, vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k best by score, then by item number."""
    scores = vectors @ items.T
    order = np.lexsort((np.broadcast_to(np.arange(len(items)), scores.shape), -scores))[:, :k]
    return order, np.take_along_axis(scores, order, axis=1)


def clustered(n: int, dim: int = 16, clusters: int = 20) -> np.ndarray:
    """Points about some centres, as item embeddings are."""
    rng = np.random.default_rng(n)
    centres = rng.normal(size=(clusters, dim))
    return (centres[rng.integers(clusters, size=n)] + 0.4 * rng.normal(size=(n, dim))).astype(np.float32)


@given(st.integers(0, 10_000), st.integers(1, 60), st.integers(1, 70))
def test_flat_is_the_dense_ranking_with_ties_by_item_number(seed: int, num_items: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    # Small whole numbers: sums are exact, and most scores are ties.
    items = rng.integers(-1, 2, (num_items, 3)).astype(np.float32)
    vectors = rng.integers(-1, 2, (5, 3)).astype(np.float32)
    numbers, scores = FaissIndex(items).search(vectors, k)
    expected, expected_scores = dense(items, vectors, k)
    there = min(k, num_items)
    np.testing.assert_array_equal(numbers[:, :there], expected)
    np.testing.assert_array_equal(scores[:, :there], expected_scores)
    assert (numbers[:, there:] == NOTHING).all()
    assert np.isneginf(scores[:, there:]).all()


def test_flat_of_a_two_tower_is_its_own_ranking() -> None:
    torch.manual_seed(0)
    model = TwoTower(load_config(overrides={"tokenizer.dim": 16, "tokenizer.layers": 1}), 200).eval()
    offsets = np.array([0, 2, 3, 6], dtype=np.uint64)
    cases = Cases(np.full(3, 0), offsets, np.array([5, 9, 7, 1, 2, 3]), np.arange(4), np.array([1, 2, 3]))
    numbers, scores = FaissIndex.of_two_tower(model).search(model.user_vectors(cases).numpy(), 20)
    ranked = model.case_scores(cases)(np.arange(3))
    np.testing.assert_array_equal(numbers, np.argsort(-ranked, axis=1, kind="stable")[:, :20])
    np.testing.assert_allclose(scores, -np.sort(-ranked, axis=1)[:, :20], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("parameters", "least"), [(FlatIP(), 1.0), (HNSW(), 0.95), (IVFPQ(lists=16, probes=8, subvectors=8), 0.6)]
)
def test_recall_against_the_exact_search(parameters: FlatIP | HNSW | IVFPQ, least: float) -> None:
    items, vectors = clustered(3000), clustered(100)
    exact, _ = dense(items, vectors, 20)
    found, scores = FaissIndex(items, parameters).search(vectors, 20)
    recall = np.mean([len(np.intersect1d(a, b)) / 20 for a, b in zip(found, exact, strict=True)])
    assert recall >= least
    assert (np.diff(scores, axis=1) <= 0).all()
    assert all(len(np.unique(row)) == 20 for row in found)


def test_more_effort_finds_no_less() -> None:
    items, vectors = clustered(3000), clustered(100)
    exact, _ = dense(items, vectors, 20)

    def recall(parameters: HNSW | IVFPQ) -> float:
        found, _ = FaissIndex(items, parameters).search(vectors, 20)
        return float(np.mean([len(np.intersect1d(a, b)) / 20 for a, b in zip(found, exact, strict=True)]))

    assert recall(IVFPQ(16, 1, 8)) < recall(IVFPQ(16, 16, 8))
    assert recall(HNSW(4, 20, 1)) < recall(HNSW(4, 20, 200))


def test_a_search_that_finds_too_little_says_nothing() -> None:
    items = clustered(300)
    numbers, scores = FaissIndex(items, IVFPQ(lists=100, probes=1, subvectors=4)).search(items[:4], 200)
    assert (numbers[:, -1] == NOTHING).all()
    assert np.isneginf(scores[numbers == NOTHING]).all()
    assert (numbers[:, 0] != NOTHING).all()


@pytest.mark.parametrize(
    ("parameters", "words"),
    [({"probes": 0}, "probes"), ({"lists": 4, "probes": 5}, "probes"), ({"bits": 20}, "bits")],
)
def test_wrong_parameters_are_named(parameters: dict[str, int], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        IVFPQ(**parameters)
    with pytest.raises(ConfigError, match="neighbours"):
        HNSW(neighbours=1)


def test_parameters_that_do_not_fit_the_items_are_named() -> None:
    with pytest.raises(ConfigError, match=r"subvectors \(5\)"):
        FaissIndex(clustered(400), IVFPQ(subvectors=5))
    with pytest.raises(ConfigError, match="256 items"):
        FaissIndex(clustered(100), IVFPQ())


def test_without_faiss_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(MissingExtraError, match=r"sparcode-es\[faiss\]"):
        FaissIndex(clustered(10))
