"""Systems that begin from a trained two-tower: given or trained on the way, resumed, refused, never worse on validation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from sparcode_es_cli.main import cli

from sparcode_es.config import load_config
from sparcode_es.data.dataset import Dataset
from sparcode_es.errors import ConfigError
from sparcode_es.training.build import MODELS
from sparcode_es.training.checkpoint import read_checkpoint
from sparcode_es.training.loop import train
from training.conftest import ring
from training.small import SMALL

NAMES = sorted(name for name, kind in MODELS.items() if kind.begins_from_tower and name != "sparcode")


@pytest.fixture(scope="module", params=[1, 2], ids=["one", "ensemble"])
def settings(request: pytest.FixtureRequest) -> dict[str, object]:
    """Of a single encoder and of an ensemble."""
    return SMALL | {"tokenizer.members": request.param}


@pytest.fixture(scope="module")
def tower(chain: Path, settings: dict[str, object], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A two-tower that has learned something, but not all."""
    config = load_config(overrides=settings | {"model": "two_tower", "training.tower.epochs": 4})
    return train(config, Dataset.open(chain), tmp_path_factory.mktemp("tower"), bars=False).model_path


@pytest.mark.parametrize("name", NAMES)
def test_a_start_that_training_spoils_is_kept(
    name: str, chain: Path, settings: dict[str, object], tower: Path, tmp_path: Path
) -> None:
    dataset = Dataset.open(chain)
    rate = {f"{name}.stage.learning_rate": 5.0, f"{name}.stage.epochs": 1}
    result = train(load_config(overrides=settings | {"model": name} | rate), dataset, tmp_path, tower=tower, bars=False)
    assert result.report["model_best_epoch"] == 0
    cases, rows = dataset.cases("test"), np.arange(20)
    begun, found = (read_checkpoint(path).model.case_scores(cases)(rows) for path in (tower, result.model_path))
    reached = np.isfinite(found)
    np.testing.assert_allclose(found[reached], begun[reached], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("metric", "told"), [("ndcg@50", True), ("recall@10", False)])
def test_what_validation_said_of_a_given_tower_is_told_where_it_is_of_the_same_metric(
    metric: str, told: bool, chain: Path, settings: dict[str, object], tower: Path, tmp_path: Path
) -> None:
    options = {"model": "all_to_all", "all_to_all.stage.epochs": 1, "training.metric": metric}
    result = train(load_config(overrides=settings | options), Dataset.open(chain), tmp_path, tower=tower, bars=False)
    assert ("tower_validation" in result.report) is told
    assert result.report["tower_epochs"] == 4


@pytest.mark.parametrize("name", NAMES)
def test_a_resumed_run_ends_with_the_same_weights(
    name: str, chain: Path, settings: dict[str, object], tower: Path, tmp_path: Path
) -> None:
    options = {"model": name, f"{name}.stage.epochs": 3, "tdm.relearn_every": 2}
    config, dataset = load_config(overrides=settings | options), Dataset.open(chain)
    train(config, dataset, tmp_path / "whole", tower=tower, bars=False)

    def stop(line: str) -> None:
        if "epoch 2" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, dataset, tmp_path / "broken", tower=tower, echo=stop, bars=False)
    train(config, dataset, tmp_path / "broken", tower=tower, bars=False)
    whole, broken = (read_checkpoint(tmp_path / run / "model.pt").model.state_dict() for run in ("whole", "broken"))
    for key, value in whole.items():
        assert torch.equal(value, broken[key]), key


def test_a_tower_is_refused_where_it_does_not_belong(
    chain: Path, settings: dict[str, object], tower: Path, tmp_path: Path
) -> None:
    dataset = Dataset.open(chain)
    with pytest.raises(ConfigError, match="popularity does not begin from a tower"):
        train(load_config(overrides=settings | {"model": "popularity"}), dataset, tmp_path, tower=tower)
    other = load_config(overrides=settings | {"model": "tdm", "tokenizer.kind": "dnn"})
    with pytest.raises(ConfigError, match="another tokenizer"):
        train(other, dataset, tmp_path, tower=tower)


def test_a_training_belongs_to_its_events_and_their_split(chain: Path, tower: Path, tmp_path: Path) -> None:
    """What was trained on one split of the users may have learned from those that another tests."""
    settings = SMALL | {"training.tower.epochs": 1, "model": "two_tower"}
    config, other = load_config(overrides=settings), Dataset.open(ring(tmp_path, "--split", "users"))
    finished = train(config, Dataset.open(chain), tmp_path / "finished", bars=False).model_path
    with pytest.raises(ConfigError, match=r"trained on other events.*choose another folder"):
        train(config, other, finished.parent, bars=False)
    finished.unlink()
    with pytest.raises(ConfigError, match=r"tower\.state belongs to a training on other events"):
        train(config, other, finished.parent, bars=False)
    with pytest.raises(ConfigError, match=r"trained on other events.*train a tower for these"):
        train(load_config(overrides=SMALL), other, tmp_path / "begun", tower=tower, bars=False)


def test_evaluate_says_that_it_may_ask_what_was_learned(tower: Path, tmp_path: Path) -> None:
    other = ring(tmp_path, "--split", "users")
    done = CliRunner().invoke(cli, ["evaluate", "--checkpoint", str(tower), "--data", str(other)])
    assert done.exit_code == 0, done.output
    assert f"{tower} was trained on other events than those of {other}" in done.stderr
