"""`sparcode-es evaluate --json`: what the report reads, of a model through an engine and of one that ranks by itself."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from sparcode_es_cli.main import cli

from serving.fresh_world import CONFIG, World, random_world
from sparcode_es.baselines.two_tower import TwoTower
from sparcode_es.config import PostingsConfig
from sparcode_es.report.evaluation import read_evaluations
from sparcode_es.training.checkpoint import save_checkpoint


def evaluate(world: World, checkpoint: Path, out: Path) -> Path:
    flags = ["--checkpoint", checkpoint, "--data", world.dataset.path, "--postings", world.artifact.path, "--json"]
    done = CliRunner().invoke(cli, ["evaluate", *map(str, flags)])
    assert done.exit_code == 0, (done.output, done.exception)
    out.write_text(done.stdout)
    return out


def test_two_systems_of_the_same_cases(tmp_path: Path) -> None:
    world = World(tmp_path / "world", random_world(3)[0])
    twin = TwoTower(replace(CONFIG, model="two_tower"), world.dataset.num_items, world.dataset.num_users)
    dataset = world.dataset
    save_checkpoint(tmp_path / "two_tower.pt", twin, dataset.item_ids, "data", {}, dataset.events_hash)
    files = [
        evaluate(world, world.checkpoint, tmp_path / "a.json"),
        evaluate(world, tmp_path / "two_tower.pt", tmp_path / "b.json"),
    ]
    found = read_evaluations(files)
    assert found is not None
    assert [each.system for each in found.systems] == ["sparcode", "two_tower"]
    assert (found.data, found.data_hash, found.split) == ("world", world.dataset.events_hash, "test")
    assert found.cases == len(world.dataset.cases("test")) > 0
    for each in found.systems:
        for sliced in each.slices.values():
            assert sum(own.cases for own in sliced) == found.cases
            for view, metrics in each.metrics.items():
                for name, value in metrics.items():
                    mean = sum(own.cases * own.metrics[view][name] for own in sliced) / found.cases
                    assert mean == pytest.approx(value)


BY_TRAFFIC = PostingsConfig(sparsity=0.5, cut="traffic")


@pytest.mark.parametrize(
    ("made", "split", "told"),
    [
        (None, "valid", False),
        (None, "test", False),
        ("valid", "valid", True),
        ("valid", "test", False),
        ("test", "test", True),
        (BY_TRAFFIC, "valid", True),
        (BY_TRAFFIC, "test", False),
        (replace(BY_TRAFFIC, traffic_test=True), "test", True),
    ],
)
def test_postings_that_have_seen_the_answers_are_told(
    tmp_path: Path, made: PostingsConfig | str | None, split: str, told: bool
) -> None:
    world = World(tmp_path, random_world(3)[0], made if isinstance(made, PostingsConfig) else None)
    artifact = world.update(world.artifact, None, splits=(made,)) if isinstance(made, str) else world.artifact
    flags = ["--checkpoint", world.checkpoint, "--data", world.dataset.path, "--postings", artifact.path]
    done = CliRunner().invoke(cli, ["evaluate", *map(str, flags), "--split", split, "--json"])
    assert done.exit_code == 0, (done.output, done.exception)
    sentence = f"the postings of {artifact.path} have seen the answers of the {split} split"
    assert (sentence in done.stderr) is told
    doubts = json.loads(done.stdout)["doubts"]
    assert [doubt for doubt in doubts if sentence in doubt] == doubts
    assert bool(doubts) is told


def test_data_are_told_apart(tmp_path: Path) -> None:
    hashes = [World(tmp_path / str(i), random_world(seed)[0]).dataset.events_hash for i, seed in enumerate((3, 3, 4))]
    assert hashes[0] == hashes[1] != hashes[2]
