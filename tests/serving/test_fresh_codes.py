"""`postings update` where an artifact has the codes of its users alone: later histories bring codes that nobody had before."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from serving.fresh_world import ITEMS, PRODUCT, World, log_of, random_world, rebuilt
from sparcode_es.engines.embedded import EmbeddedEngine
from sparcode_es.postings.artifact import Artifact
from sparcode_es.postings.folded import as_updated
from sparcode_es.serving.pipeline import encode_known
from sparcode_es.serving.verify import verify


@pytest.mark.parametrize("seed", range(3))
def test_codes_that_nobody_had_before_are_scored(tmp_path: Path, seed: int) -> None:
    """With M ≥ 2 an artifact has the codes of its users alone: those of later histories come in, where a full build has them."""
    old, new = random_world(seed)
    world = World(tmp_path, old, model_config=PRODUCT)
    updated = world.update(world.artifact, log_of(new))
    Artifact.open(updated.path, verify=True)
    full = rebuilt(world, old, new)
    assert updated.manifest.updates[-1].new_codes == updated.num_codes - world.artifact.num_codes > 0
    assert {full.term(row) for row in range(full.num_codes)} <= {updated.term(row) for row in range(updated.num_codes)}
    for row in range(full.num_codes):
        same = updated.code_row(full.term(row))
        assert same is not None
        for ours, theirs in zip(updated.postings(same), full.postings(row), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    assert [updated.user_clauses(user) for user in range(updated.num_users)] == [
        full.user_clauses(user) for user in range(full.num_users)
    ]
    counts, expected = updated.manifest.counts, full.manifest.counts
    assert counts.user_codes_dropped == 0
    assert {name: getattr(counts, name) for name in ("users", "user_codes", "item_codes", "observed_codes")} == {
        name: getattr(expected, name) for name in ("users", "user_codes", "item_codes", "observed_codes")
    }
    before, after = (
        [{each.term(row): score for row, score in zip(rows, grid, strict=True)} for _, rows, grid in each.by_item()]
        for each in (world.artifact, updated)
    )
    changed = [item for item in range(ITEMS) if before[item] != after[item]]
    assert np.flatnonzero(updated.last_updates()[0]).tolist() == changed, "what an update in place writes again"


def test_the_engine_answers_as_the_model_for_codes_that_are_new(tmp_path: Path) -> None:
    old, new = random_world(2)
    world = World(tmp_path, old, model_config=PRODUCT)
    first = world.update(world.artifact, log_of(new))
    second = world.update(first, log_of({"u3": [1, 7, 2], "last": [5, 4]}), "second")
    for artifact in (first, second):
        model = as_updated(world.encoder().model, artifact)
        assert verify(EmbeddedEngine(artifact), artifact, model, partial(encode_known, model, artifact), k=10).passed
