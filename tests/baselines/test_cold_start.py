"""The cold-start systems on made-up Deezer data: users without a history are ranked better than by popularity."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sparcode_es.baselines.deezernet import DeezerNet
from sparcode_es.baselines.popularity import popularity
from sparcode_es.config import Config, load_config
from sparcode_es.data.dataset import Dataset, ScoreFunction
from sparcode_es.data.deezer import import_deezer
from sparcode_es.data.deezer_synthetic import SyntheticOptions, write_synthetic
from sparcode_es.errors import ConfigError, MismatchError
from sparcode_es.evaluation.ranking import rank_metrics
from sparcode_es.models.base import RankingModel
from sparcode_es.training.build import build_model, load_user_features
from sparcode_es.training.checkpoint import read_checkpoint
from sparcode_es.training.loop import train
from training.small import SMALL

SETTINGS: dict[str, dict[str, object]] = {
    "deezernet": {"deezernet.hidden": [100], "training.tower.epochs": 15},
    "dropoutnet": {
        "dropoutnet.hidden": [100],
        "dropoutnet.rank": 50,
        "training.tower.epochs": 12,
        "training.tower.evaluate_every": 4,
    },
    "melu": {
        "melu.dim": 32,
        "melu.hidden": [32],
        "training.tower.epochs": 8,
        "training.tower.evaluate_every": 4,
        "training.tower.learning_rate": 0.005,
    },
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """1,000 users, of whom 100 are asked in the test, and 500 songs."""
    folder = tmp_path_factory.mktemp("deezer-1000")
    write_synthetic(folder / "files", SyntheticOptions(users=1000, songs=500, listened=30))
    return import_deezer(folder / "files", folder / "svd", "deezer", "svd")


def trained(name: str, data: Dataset, out: Path) -> RankingModel:
    train(load_config(overrides=SMALL | SETTINGS[name] | {"model": name}), data, out, bars=False)
    model = read_checkpoint(out / "model.pt").model
    with pytest.raises(MismatchError, match="user features"):
        model.case_scores(data.cases("test"))(np.arange(2))
    load_user_features(model, data)
    return model


def ndcg(scores: ScoreFunction, data: Dataset) -> float:
    return rank_metrics(scores, data.cases("test"), data.num_items, convention="deezer")["all"]["ndcg@50"]


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_cold_users_are_ranked_better_than_by_popularity(name: str, data: Dataset, tmp_path: Path) -> None:
    model = trained(name, data, tmp_path)
    cases = data.cases("test")
    assert not len(cases.history_items), "test users have no history"
    least = 1.1 * ndcg(popularity(Config(), data).case_scores(cases), data)
    assert ndcg(model.case_scores(cases), data) > least
    if isinstance(model, DeezerNet):
        assert ndcg(model.case_scores(cases, "semi"), data) > least


@pytest.mark.parametrize("form", ["full", "semi"])
def test_deezernet_trains_on_pairs_of_user_and_item(form: str, deezer: Dataset, tmp_path: Path) -> None:
    """As the preset has it: each user once an epoch."""
    overrides = {
        "tokenizer.source": "features",
        "tokenizer.kind": "dnn",
        "item_codes.latest": 0,
        "deezernet.form": form,
    }
    config = load_config(overrides=SMALL | overrides | {"model": "deezernet", "training.tower.epochs": 2})
    train(config, deezer, tmp_path, bars=False)
    model = read_checkpoint(tmp_path / "model.pt").model
    load_user_features(model, deezer)
    scores = model.case_scores(deezer.cases("test"))(np.arange(3))
    assert np.isneginf(scores).any() == (form == "semi")


@pytest.mark.parametrize("name", ["deezer-deezernet", "deezer-dropoutnet", "deezer-melu"])
def test_presets_fit_deezers_data(name: str, deezer: Dataset) -> None:
    model = build_model(load_config(preset=name), deezer)
    assert model.config.model == name.removeprefix("deezer-")


@pytest.mark.parametrize(
    "overrides",
    [
        {"model": "deezernet", "tokenizer.source": "features", "deezernet.history": True},
        {"model": "deezernet", "tokenizer.use_features": False, "deezernet.history": False},
        {"model": "dropoutnet", "tokenizer.use_features": False, "latents.source": "features"},
    ],
)
def test_what_does_not_go_together_is_refused(overrides: dict[str, object], deezer: Dataset) -> None:
    needed = {"tokenizer.kind": "dnn", "item_codes.latest": 0}
    with pytest.raises(ConfigError, match=f"{overrides['model']}|latents"):
        build_model(load_config(overrides=needed | overrides), deezer)
