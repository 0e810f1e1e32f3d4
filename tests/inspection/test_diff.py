"""Differences between two artifacts, against sets made by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.shelf import CODES, ITEMS, Scorer, make_shelf
from sparcode_es.engines.embedded_inspector import ArtifactContents
from sparcode_es.inspection.diff import Diff, PostingChange, diff
from sparcode_es.postings.artifact import Artifact
from sparcode_es.postings.grid import from_grid


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return make_shelf(tmp_path_factory.mktemp("diff") / "base")


def postings(artifact: Artifact) -> dict[tuple[str, int], float]:
    found = {}
    for row in range(artifact.num_codes):
        items, grid = artifact.postings(row)
        for item, score in zip(items.tolist(), from_grid(grid).tolist(), strict=True):
            found[artifact.term(row), item] = score
    return found


def compared(left: Artifact, right: Artifact, examples: int = 5) -> Diff:
    return diff(ArtifactContents(left), ArtifactContents(right), examples)


def test_nothing_changed(base: Artifact) -> None:
    found = compared(base, base)
    assert found.same_model
    assert found.postings == PostingChange(0, 0, 0)
    assert found.codes is not None
    assert [
        g.count for change in (found.items, found.codes) for g in (change.added, change.removed, change.changed)
    ] == [0] * 6
    assert (found.before.items, found.before.postings) == (ITEMS, base.num_postings)


CHANGES = st.dictionaries(
    st.tuples(st.integers(0, CODES - 1), st.integers(0, ITEMS - 1)), st.sampled_from([-1.0, 0.5, 7.0]), max_size=25
)


@settings(max_examples=15)
@given(CHANGES)
def test_any_change_is_counted(
    base: Artifact, tmp_path_factory: pytest.TempPathFactory, changes: dict[tuple[int, int], float]
) -> None:
    scorer = Scorer()
    for place, score in changes.items():
        scorer.table[place] = score
    other = make_shelf(tmp_path_factory.mktemp("other") / "p", scorer)
    before, after = postings(base), postings(other)
    told: list[int] = []
    found = diff(ArtifactContents(base), ArtifactContents(other), 99, lambda more, total: told.append(more))
    changed = {key for key in before.keys() & after.keys() if before[key] != after[key]}
    assert found.postings == PostingChange(
        len(after.keys() - before.keys()), len(before.keys() - after.keys()), len(changed)
    )
    touched = {term for term, _ in (before.keys() ^ after.keys()) | changed}
    assert found.codes is not None
    assert set(found.codes.changed.examples) == touched
    assert sum(told) == len(touched)


def test_items_are_compared_by_what_is_shown_of_them(base: Artifact, tmp_path: Path) -> None:
    other = make_shelf(tmp_path / "other", attribute="2024")
    assert compared(base, other).items.changed.examples == ("Z7",)
    assert compared(base, other).postings == PostingChange(0, 0, 0)


def test_codes_of_two_models_are_not_compared(base: Artifact, tmp_path: Path) -> None:
    found = compared(base, make_shelf(tmp_path / "other", Scorer(1, "feed02")))
    assert (found.same_model, found.codes, found.postings) == (False, None, None)
    assert found.items.changed.count == 0
    assert np.array([found.before.codes, found.after.codes]).tolist() == [base.num_codes] * 2
