"""`verify` beside cuts: what a cut took counts on neither side; what is lost or wrong beside it is found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from sparcode_es_cli.main import cli

from serving.fresh_world import World, random_world
from sparcode_es.codes import Clause
from sparcode_es.config import PostingsConfig
from sparcode_es.engines.embedded import EmbeddedEngine
from sparcode_es.errors import MismatchError
from sparcode_es.postings.artifact import Artifact
from sparcode_es.serving.pipeline import build_from_data
from sparcode_es.serving.score_table import ScoreTable
from sparcode_es.serving.verify import UNROUNDED_TOLERANCE, verify

CUTS: list[dict[str, Any]] = [
    {},
    {"sparsity": 0.7},
    {"sparsity": 0.7, "cut": "traffic"},
    {"max_postings_per_code": 4},
    {"max_codes_per_item": 3},
    {"sparsity": 0.8, "cut": "traffic", "min_codes_per_item": 2},
    {"max_codes_per_item": 2, "max_postings_per_code": 5, "min_codes_per_item": 1},
    {"max_codes_per_item": 4, "sparsity": 0.7, "cut": "traffic", "min_codes_per_item": 1},
]
EACH_TOLD, FLOORED = CUTS[:5], CUTS[5:]
"""Where no posting can go without being missed (near ties of a maximum a code left aside), and where those of a floor cannot."""


@pytest.fixture(scope="module", params=[0, 1])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("world"), random_world(request.param)[0])


def built(world: World, cuts: dict[str, Any], folder: Path) -> Artifact:
    return build_from_data(world.encoder(), world.dataset, folder / "postings", PostingsConfig(**cuts))


def compared(artifact: Artifact, world: World) -> tuple[ScoreTable, np.ndarray, np.ndarray]:
    """The table after each code was asked for alone, and both sides' scores, [C, I]."""
    table = ScoreTable(artifact, world.model)
    rows = [table.scores([Clause(artifact.term(row), 1.0)]) for row in range(artifact.num_codes)]
    return table, np.stack([rounded for rounded, _ in rows]), np.stack([exact for _, exact in rows])


def without(artifact: Artifact, place: int) -> Artifact:
    """The artifact opened again, less one posting."""
    less = Artifact.open(artifact.path)
    row = int(np.searchsorted(less.code_offsets, place, side="right")) - 1
    less.code_offsets = less.code_offsets - (np.arange(less.num_codes + 1) > row).astype(np.uint64)
    less.item_numbers, less.scores = np.delete(less.item_numbers, place), np.delete(less.scores, place)
    less.num_postings -= 1
    counts = less.manifest.counts
    left = counts.item_code_postings - int(row >= less.num_codes - counts.item_codes)
    less.manifest = replace(less.manifest, counts=replace(counts, item_code_postings=left))
    return less


@pytest.mark.parametrize("cuts", CUTS, ids=str)
def test_what_a_cut_took_counts_on_neither_side(world: World, cuts: dict[str, Any], tmp_path: Path) -> None:
    artifact = built(world, cuts, tmp_path)
    whole = world.artifact.num_postings
    assert artifact.num_postings < whole or not cuts, "something was cut"
    table, rounded, exact = compared(artifact, world)
    assert table.missing == 0
    np.testing.assert_allclose(rounded, exact, rtol=2**-8)


@pytest.mark.parametrize("cuts", EACH_TOLD, ids=str)
def test_a_posting_that_no_cut_took_is_missed(world: World, cuts: dict[str, Any], tmp_path: Path) -> None:
    artifact = built(world, cuts, tmp_path)
    missed = [compared(without(artifact, place), world)[0].missing for place in range(0, artifact.num_postings, 7)]
    share = np.mean(np.array(missed) > 0)
    assert share > 0.9 if "max_postings_per_code" in cuts else share == 1


@pytest.mark.parametrize("cuts", FLOORED, ids=str)
def test_an_items_best_posting_is_missed_where_a_floor_keeps_it(
    world: World, cuts: dict[str, Any], tmp_path: Path
) -> None:
    artifact = built(world, cuts, tmp_path)
    row, grid = next((rows[np.argmax(grid)], grid.max()) for item, rows, grid in artifact.by_item() if item == 5)
    items, _ = artifact.postings(int(row))
    place = int(artifact.code_offsets[row]) + int(np.flatnonzero(items == 5)[0])
    assert artifact.scores[place] == grid
    assert compared(without(artifact, place), world)[0].missing > 0


def test_a_wrong_score_is_an_error_beside_a_cut(world: World, tmp_path: Path) -> None:
    artifact = built(world, {"sparsity": 0.7, "cut": "traffic"}, tmp_path)
    artifact.scores = artifact.scores + np.uint16(4)
    table, rounded, exact = compared(artifact, world)
    assert table.missing == 0
    assert (np.abs(rounded[rounded > 0] / exact[rounded > 0] - 1) > UNROUNDED_TOLERANCE).all()


def test_an_engine_that_holds_another_artifact_of_the_model(world: World, tmp_path: Path) -> None:
    """No error of the scores, and no cause to build anything again."""
    cut = built(world, {"sparsity": 0.7}, tmp_path)
    with pytest.raises(
        MismatchError, match=f"holds the artifact {cut.generation_hash} .* give the one .* as --postings"
    ):
        verify(EmbeddedEngine(cut), world.artifact, world.model, lambda rows: pytest.fail("encoded"))


def test_the_command_passes_a_cut_by_traffic(world: World, tmp_path: Path) -> None:
    artifact = built(world, {"sparsity": 0.7, "cut": "traffic"}, tmp_path)
    asked = ["verify", "--postings", str(artifact.path), "--checkpoint", str(world.checkpoint), "-k", "10"]
    done = CliRunner().invoke(cli, asked)
    assert done.exit_code == 0, done.output
    assert "postings missing               0" in done.stdout
    assert "cut on purpose" in done.stdout
