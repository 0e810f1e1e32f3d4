"""Building: against brute force, cuts and floor, what cannot be built, and the artifact's invariants."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparcode_es.codes import (
    ITEM_HEAD,
    REPEAT_HEAD,
    ItemCodes,
    UserCodes,
    parse_term,
    rows_of,
    side_by_side,
    term_of,
    unique_codes,
)
from sparcode_es.config import PostingsConfig
from sparcode_es.errors import ArtifactError, ConfigError, StorageError
from sparcode_es.postings.artifact import Artifact
from sparcode_es.postings.build import build_postings
from sparcode_es.postings.grid import to_grid
from sparcode_es.postings.score import bias_for_sparsity, sparse_scores
from sparcode_es.postings.transpose import transpose
from sparcode_es.tables import StringTable


def dense(artifact: Artifact) -> np.ndarray:
    """The stored grid values, uint16 [C, I]."""
    table = np.zeros((artifact.num_codes, artifact.num_items), dtype=np.uint16)
    for row in range(artifact.num_codes):
        items, grid = artifact.postings(row)
        assert (np.diff(items.astype(int)) > 0).all()
        assert (grid > 0).all()
        table[row, items] = grid
    return table


def brute(scores: np.ndarray, per_code: int | None, per_item: int | None, floor: int) -> np.ndarray:
    """The same cuts on a dense table of grid values, written another way."""
    full = scores.astype(int)
    kept = np.zeros(full.shape, dtype=bool)
    for row in range(len(full)):
        order = sorted(np.flatnonzero(full[row]), key=lambda i: (-full[row, i], i))
        kept[row, order[:per_code]] = True
    for item in range(full.shape[1]):
        order = sorted(np.flatnonzero(full[:, item]), key=lambda c: (-full[c, item], c))
        left = [c for c in order if kept[c, item]]
        kept[:, item] = False
        kept[left[:per_item], item] = True
        kept[order[:floor], item] = True
    return np.where(kept, scores, 0)


@settings(max_examples=30)
@given(
    seed=st.integers(0, 1000),
    num_items=st.integers(1, 25),
    codes=st.integers(2, 7),
    per_code=st.none() | st.integers(1, 9),
    per_item=st.none() | st.integers(1, 4),
    floor=st.integers(0, 3),
    blocks=st.tuples(st.integers(1, 8), st.integers(1, 30)),
)
def test_against_brute_force(
    make_scorer: Any,
    seed: int,
    num_items: int,
    codes: int,
    per_code: int | None,
    per_item: int | None,
    floor: int,
    blocks: tuple[int, int],
) -> None:
    scorer = make_scorer(num_items=num_items, N=codes, seed=seed)
    config = PostingsConfig(
        max_postings_per_code=per_code,
        max_codes_per_item=per_item,
        min_codes_per_item=floor if per_code or per_item else 0,
        block_codes=blocks[0],
        block_items=blocks[1],
    )
    with tempfile.TemporaryDirectory() as folder:
        artifact = build_small(scorer, Path(folder) / "p", config)
        expected = brute(to_grid(scorer.scores + np.float32(scorer.bias)), per_code, per_item, floor)
        np.testing.assert_array_equal(dense(artifact), expected)
        counts = artifact.manifest.counts
        assert counts.postings == (expected > 0).sum()
        assert counts.items_without_postings == (expected.max(axis=0) == 0).sum()
        by_item = {item: dict(zip(rows, grid, strict=True)) for item, rows, grid in artifact.by_item(block=5)}
        for item in range(num_items):
            assert by_item[item] == {c: expected[c, item] for c in np.flatnonzero(expected[:, item])}


def build_small(scorer: Any, out: Path, config: PostingsConfig) -> Artifact:
    """An artifact with one user who has the first code."""
    user_codes = UserCodes(np.array([0, 1], np.uint64), scorer.all_codes()[:1], np.ones(1, np.float32))
    return build_postings(
        scorer,
        out,
        item_ids=StringTable.build(str(i) for i in range(scorer.num_items)),
        item_docs=[{"title": None, "attributes": {}}] * scorer.num_items,
        user_ids=StringTable.build(["u"]),
        user_codes=user_codes,
        user_seen=NoSeen(),
        config=config,
    )


class NoSeen:
    offsets = np.zeros(2, dtype=np.uint64)
    items = np.zeros(0, dtype=np.uint32)


@pytest.mark.parametrize("sparsity", [0.0, 0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("shift", [0.0, 100.0, -3.0])
def test_sparsity_target_is_met(make_scorer: Any, sparsity: float, shift: float) -> None:
    scorer = make_scorer(num_items=500, N=8)
    scorer.scores += np.float32(shift)
    bias = bias_for_sparsity(scorer, scorer.all_codes(), PostingsConfig(block_codes=3, block_items=70), sparsity)
    cut = (scorer.scores + np.float32(bias) <= 0).mean()
    # Equal scores go together; a shift of 100 makes some float32 scores equal.
    assert cut == pytest.approx(sparsity, abs=0.001)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 99),
    num_items=st.integers(1, 300),
    share=st.floats(0.001, 1, exclude_max=True),
    sample=st.sampled_from([1, 40, 1 << 21]),
    bits=st.integers(1, 20),
    kind=st.sampled_from(["wide", "signs", "few"]),
)
def test_the_bias_is_the_score_at_the_cut(
    make_scorer: Any, seed: int, num_items: int, share: float, sample: int, bits: int, kind: str
) -> None:
    """Whatever the sample says, and however many passes are needed."""
    scorer = make_scorer(num_items=num_items, N=5, seed=seed)
    if kind == "wide":
        scorer.scores *= np.exp(9 * scorer.scores)
    elif kind == "signs":
        scorer.scores = np.sign(np.round(scorer.scores)) * np.float32(0)
    else:
        scorer.scores = np.round(scorer.scores)
    cut = round(share * scorer.scores.size)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sparcode_es.postings.score.SAMPLE_PAIRS", sample)
        patch.setattr("sparcode_es.postings.score.BUCKET_BITS", bits)
        bias = bias_for_sparsity(scorer, scorer.all_codes(), PostingsConfig(block_codes=3, block_items=70), share)
    if cut:
        assert bias == -np.sort(scorer.scores, axis=None)[cut - 1]
    else:
        assert (scorer.scores + np.float32(bias) > 0).all()


def test_report_of_section_4_4(build: Any, make_scorer: Any) -> None:
    artifact = build(make_scorer(N=4, M=2))
    manifest = artifact.manifest
    postings = artifact.num_postings
    assert artifact.num_codes == manifest.counts.observed_codes < 16
    assert manifest.sparsity == pytest.approx(1 - postings / (16 * 37))
    assert manifest.average_items == pytest.approx(postings / 16)
    assert manifest.sparsity_of_stored_codes == pytest.approx(1 - postings / (artifact.num_codes * 37))
    assert 0 < manifest.rounding.max_relative_error <= 2**-9


def item_codes(num_items: int, seed: int) -> ItemCodes:
    """About a third of all pairs of items, with scores of which some round to 0."""
    rng = np.random.default_rng(seed)
    table = np.where(rng.random((num_items, num_items)) < 0.3, rng.exponential(size=(num_items, num_items)), 0)
    table[rng.random(table.shape) < 0.05] = 1e-40
    rows, items = np.nonzero(table)
    offsets = np.searchsorted(rows, np.arange(num_items + 1))
    return ItemCodes(offsets, items.astype(np.uint32), table[rows, items].astype(np.float32))


@settings(max_examples=40)
@given(
    seed=st.integers(0, 99),
    num_items=st.integers(1, 25),
    M=st.integers(1, 2),
    per_code=st.none() | st.integers(1, 9),
    per_item=st.none() | st.integers(1, 4),
    names=st.sampled_from([["item"], ["repeat"], ["repeat", "item"]]),
)
def test_item_codes_follow_the_scored_codes(
    make_scorer: Any, seed: int, num_items: int, M: int, per_code: int | None, per_item: int | None, names: list[str]
) -> None:
    heads = {"repeat": REPEAT_HEAD, "item": ITEM_HEAD}
    remembered = side_by_side([replace(item_codes(num_items, seed), heads=(heads[name],)) for name in names])
    scorer = make_scorer(num_items=num_items, N=3, M=M, seed=seed, item_codes=remembered)
    config = PostingsConfig(
        max_postings_per_code=per_code, max_codes_per_item=per_item, observed_codes_only=False, block_codes=2
    )
    with tempfile.TemporaryDirectory() as folder:
        artifact = build_small(scorer, Path(folder) / "p", config)
        wanted = to_grid(sparse_scores(scorer, np.asarray(artifact.codes), scorer.bias))
        np.testing.assert_array_equal(dense(artifact), brute(wanted, per_code, per_item, 0))
        terms = [f"{name}_{i}" for name in names for i in range(num_items)]
        assert [artifact.term(3**M + row) for row in range(len(terms))] == terms
        assert artifact.code_row(f"item_{num_items}") is None
        counts = artifact.manifest.counts
        assert (counts.codes, counts.item_codes) == (3**M + len(terms), len(terms))
        scored = counts.postings - counts.item_code_postings
        assert scored == (dense(artifact)[: 3**M] > 0).sum()
        assert artifact.manifest.sparsity == pytest.approx(1 - scored / (3**M * num_items))


def test_item_codes_that_are_not_finite_are_refused(build: Any, make_scorer: Any) -> None:
    broken = ItemCodes(np.array([0, 1, *[1] * 36]), np.zeros(1, np.uint32), np.full(1, np.nan, np.float32))
    with pytest.raises(ArtifactError, match="item or repeat codes"):
        build(make_scorer(item_codes=broken))


def test_all_codes_on_request_and_codes_without_a_row_are_counted(build: Any, make_scorer: Any) -> None:
    assert build(make_scorer(N=4, M=2), observed_codes_only=False).num_codes == 16


def test_users_come_back(build: Any, scorer: Any) -> None:
    artifact = build(scorer)
    assert artifact.num_users == 5
    assert sum(len(artifact.user_clauses(u)) for u in range(5)) == artifact.manifest.counts.user_codes
    for clause in artifact.user_clauses(0):
        row = artifact.code_row(clause.term)
        assert row is not None
        assert artifact.term(row) == clause.term


@pytest.mark.parametrize("term", ["", "x", "99", "1_2", "h0_1", "01", "-1", "1 ", "4294967297"])
def test_terms_that_the_artifact_does_not_have(build: Any, term: str) -> None:
    assert build().code_row(term) is None


@pytest.mark.parametrize(
    ("code", "shared", "term"),
    [
        ((0, 12, 201), True, "12_201"),
        ((3, 117), False, "h3_117"),
        ((ITEM_HEAD, 42, 0), False, "item_42"),
        ((REPEAT_HEAD, 7), True, "repeat_7"),
    ],
)
def test_terms(code: tuple[int, ...], shared: bool, term: str) -> None:
    assert term_of(code, shared) == term
    assert parse_term(term, len(code) - 1) == code


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), max_size=20))
def test_unique_codes_and_rows(rows: list[tuple[int, int]]) -> None:
    codes = np.array(rows, dtype=np.uint32).reshape(-1, 2)
    distinct, inverse = unique_codes(codes)
    np.testing.assert_array_equal(distinct[inverse].reshape(-1, 2), codes)
    assert [tuple(row) for row in distinct.tolist()] == sorted(set(rows))
    found = rows_of(distinct[1:], codes)
    assert [found[i] == -1 for i in range(len(codes))] == [inverse[i] == 0 for i in range(len(codes))]


def test_transpose_of_nothing() -> None:
    empty = np.zeros(0, dtype=np.uint32)
    blocks = list(transpose(np.zeros(1, np.uint64), empty, empty.astype(np.uint16), 3))
    assert sum(len(block) for block in blocks) == 3


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_no_number_is_named(build: Any, scorer: Any, bad: float, tmp_path: Path) -> None:
    scorer.scores[2, 31] = bad
    with pytest.raises(ArtifactError, match="code 2 and item number 31"):
        build(scorer)
    assert list(tmp_path.iterdir()) == []


def test_other_items_than_the_models(build: Any, scorer: Any) -> None:
    scorer.num_items = 36
    with pytest.raises(ArtifactError, match="36 items"):
        build_small_with_ids(scorer)


def build_small_with_ids(scorer: Any) -> None:
    build_postings(
        scorer,
        Path("unused"),
        item_ids=StringTable.build(str(i) for i in range(37)),
        item_docs=[],
        user_ids=StringTable.build([]),
        user_codes=UserCodes(np.zeros(1, np.uint64), np.zeros((0, 2), np.uint32), np.zeros(0, np.float32)),
        user_seen=NoSeen(),
    )


def test_a_file_in_the_way(build: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="file"):
        build(out=tmp_path / "file" / "postings")


def test_bias_and_sparsity_exclude_each_other() -> None:
    with pytest.raises(ConfigError):
        PostingsConfig(bias=0.0, sparsity=0.5)


def test_same_content_same_generation(build: Any, tmp_path: Path) -> None:
    assert build(out=tmp_path / "a").generation_hash == build(out=tmp_path / "b").generation_hash
    assert build(out=tmp_path / "c", bias=0.5).generation_hash != build(out=tmp_path / "b").generation_hash
