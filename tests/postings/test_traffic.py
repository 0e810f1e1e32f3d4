"""What users' best items are made of stays, and a cut by that keeps answers better than one by scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from sparcode_es.codes import UserCodes
from sparcode_es.config import PostingsConfig
from sparcode_es.errors import ConfigError
from sparcode_es.postings import prune
from sparcode_es.postings.artifact import Artifact
from sparcode_es.postings.build import build_postings
from sparcode_es.postings.grid import from_grid, to_grid
from sparcode_es.postings.traffic import best_items, boosts_of, traffic
from sparcode_es.tables import StringTable


def candidates(table: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Offsets, items and grid scores of the positive entries of a table [C, I]."""
    rows, items = np.nonzero(table)
    offsets = np.concatenate([[0], np.cumsum((table > 0).sum(1))]).astype(np.uint64)
    return offsets, items.astype(np.uint32), to_grid(table[rows, items].astype(np.float32))


@given(st.integers(0, 999), st.integers(1, 6), st.integers(1, 12), st.integers(1, 8), st.integers(1, 5))
def test_as_written_out(seed: int, codes: int, items: int, users: int, top: int) -> None:
    rng = np.random.default_rng(seed)
    grid = to_grid(rng.random((codes, items), dtype=np.float32) + np.float32(0.1))
    table = np.where(rng.random((codes, items)) < 0.7, from_grid(grid), 0)
    boosts = np.where(rng.random((users, codes)) < 0.6, rng.random((users, codes)), 0).astype(np.float32)
    parts = candidates(table)
    found = best_items(sparse.csr_matrix(boosts), *parts, items, top).toarray()
    sums = boosts.astype(np.float64) @ table
    for user in range(users):
        chosen = np.flatnonzero(found[user])
        assert len(chosen) == min(top, (sums[user] > 0).sum())
        rest = np.setdiff1d(np.arange(items), chosen)
        if len(chosen) and len(rest):
            assert sums[user][chosen].min() >= sums[user][rest].max() - 1e-5
    places, much = traffic(sparse.csr_matrix(boosts), *parts, items, top)
    assert (np.diff(places) > 0).all()
    needed = np.zeros(len(parts[1]), dtype=np.float32)
    needed[places] = much
    rows, columns = np.nonzero(table)
    np.testing.assert_allclose(needed, ((boosts.T @ found) * table)[rows, columns], rtol=1e-4, atol=1e-6)


def test_boosts_of_users() -> None:
    table = np.array([[0, 3], [0, 5], [0, 9]], dtype=np.uint32)
    codes = np.array([[0, 5], [0, 4], [0, 3], [0, 9]], dtype=np.uint32)
    users = UserCodes(np.array([0, 2, 2, 4], dtype=np.uint64), codes, np.array([0.5, 9, 0.25, 2], dtype=np.float32))
    dense = [[0, 0.5, 0], [0, 0, 0], [0.25, 0, 2]]
    assert boosts_of(users, table, 10).toarray().tolist() == dense
    assert boosts_of(users, table, 2).toarray().tolist() == [dense[0], dense[2]]


class Scorer:
    """Scores of full rank, few of which ever win: each code has items that are its own, among many that all codes like."""

    num_items, num_possible_codes, shared_heads, bias, item_codes = 200, 20, True, 0.0, None
    model_hash = codebook_hash = "feed"

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.table = rng.random((20, 200), dtype=np.float32) + np.linspace(0, 3, 20, dtype=np.float32)[:, None]

    def all_codes(self) -> np.ndarray:
        return np.stack([np.zeros(20), np.arange(20)], axis=1).astype(np.uint32)

    def score_codes(self, codes: np.ndarray, items: slice) -> np.ndarray:
        return self.table[codes[:, 1]][:, items]


class Seen:
    offsets, items = np.zeros(301, dtype=np.uint64), np.zeros(0, dtype=np.uint32)


def build(folder: Path, config: PostingsConfig) -> tuple[Artifact, UserCodes]:
    rng = np.random.default_rng(1)
    codes = np.stack([np.zeros(900), np.concatenate([rng.permutation(20)[:3] for _ in range(300)])], axis=1)
    users = UserCodes(
        np.arange(0, 901, 3).astype(np.uint64), codes.astype(np.uint32), rng.random(900, dtype=np.float32)
    )
    names = {"item_ids": (f"i{i}" for i in range(200)), "user_ids": (f"u{u}" for u in range(300))}
    tables = {name: StringTable.build(ids) for name, ids in names.items()}
    docs = ({"title": None, "attributes": {}} for _ in range(200))
    made = build_postings(Scorer(), folder, **tables, item_docs=docs, user_codes=users, user_seen=Seen(), config=config)
    return made, users


def kept_best(artifact: Artifact, users: UserCodes) -> float:
    """The share of everybody's ten best items, of all scores, that the artifact's ten best have."""
    shape = (artifact.num_codes, artifact.num_items)
    stored = (
        from_grid(artifact.scores),
        artifact.item_numbers.astype(np.int64),
        artifact.code_offsets.astype(np.int64),
    )
    boosts = boosts_of(users, artifact.codes, 1000)
    cut = (boosts @ sparse.csr_matrix(stored, shape=shape)).toarray()
    whole = boosts.toarray() @ Scorer().table
    best = [set(np.argsort(-scores)[:10]) for scores in whole]
    return float(np.mean([len(b & set(np.argsort(-s)[:10])) / 10 for b, s in zip(best, cut, strict=True)]))


def test_answers_are_kept_better_than_by_a_bias(tmp_path: Path) -> None:
    found = {}
    for cut in ("bias", "traffic"):
        artifact, users = build(tmp_path / cut, PostingsConfig(sparsity=0.8, cut=cut, traffic_items=10))  # type: ignore[arg-type]
        assert artifact.num_postings == 800
        found[cut] = kept_best(artifact, users)
    assert found["traffic"] > found["bias"] + 0.1, found


def test_a_floor_holds_after_the_cut(tmp_path: Path) -> None:
    config = PostingsConfig(sparsity=0.97, cut="traffic", traffic_items=5, min_codes_per_item=1)
    artifact, _ = build(tmp_path / "floor", config)
    assert artifact.manifest.counts.items_without_postings == 0
    assert artifact.num_postings >= 120


def test_no_sparsity_no_traffic() -> None:
    with pytest.raises(ConfigError, match="needs a sparsity"):
        PostingsConfig(cut="traffic")


@given(st.integers(0, 9999), st.integers(0, 60), st.integers(0, 60), st.integers(1, 7))
def test_the_most_asked_for_stay_then_the_highest_then_the_first(seed: int, size: int, most: int, block: int) -> None:
    rng = np.random.default_rng(seed)
    keep, scores = rng.random(size) < 0.8, rng.integers(1, 5, size).astype(np.uint16)
    needed = np.where(rng.random(size) < 0.4, rng.integers(1, 4, size), 0).astype(np.float32)
    kept = np.flatnonzero(keep)
    expected = np.sort(kept[np.lexsort((-scores[kept].astype(int), -needed[kept]))][:most])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prune, "BLOCK_POSTINGS", block)
        places = np.flatnonzero(needed)
        prune._keep_most(keep, scores, places, needed[places], most)
    assert np.flatnonzero(keep).tolist() == expected.tolist()
