"""Users without a history, from features alone: trained, indexed, asked and measured on made-up Deezer data."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from sparcode_es_cli.main import cli

from sparcode_es.baselines.popularity import popularity
from sparcode_es.config import load_config
from sparcode_es.data.dataset import Dataset
from sparcode_es.errors import ConfigError, MismatchError
from sparcode_es.evaluation.ranking import rank_metrics
from sparcode_es.training.build import build_model, feature_tables, load_user_features
from sparcode_es.training.checkpoint import read_checkpoint, save_checkpoint
from sparcode_es.training.loop import train
from training.small import SMALL

FEATURES = SMALL | {
    "tokenizer.source": "features",
    "tokenizer.dim": 32,
    "tokenizer.hidden": [64],
    "item_codes.latest": 0,
    "quantizer.codes": 32,
    "training.tower.epochs": 15,
    "training.codes.epochs": 6,
    "training.codes.learning_rate": 0.003,
    "training.items_per_user": 15,
}


@pytest.fixture(scope="module", params=["dnn", "self_attention"])
def run(request: pytest.FixtureRequest, deezer: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a SparCode training, with its two-tower twin."""
    out = tmp_path_factory.mktemp(request.param)
    train(load_config(overrides=FEATURES | {"tokenizer.kind": request.param}), deezer, out, bars=False)
    return out


def invoke(*arguments: object) -> str:
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.slow
def test_both_towers_and_codes_beat_popularity_on_cold_users(run: Path, deezer: Dataset) -> None:
    cases = deezer.cases("test")
    models = {name: read_checkpoint(run / f"{name}.pt").model for name in ("two_tower", "model")}
    for model in models.values():
        load_user_features(model, deezer)
    scores = {name: model.case_scores(cases) for name, model in models.items()}
    scores["popularity"] = popularity(models["model"].config, deezer).case_scores(cases)
    found = {
        name: rank_metrics(score, cases, deezer.num_items, convention="deezer")["all"]["ndcg@20"]
        for name, score in scores.items()
    }
    assert min(found["two_tower"], found["model"]) > 1.25 * found["popularity"], found


@pytest.mark.slow
def test_a_cold_user_is_answered_from_the_postings(run: Path, deezer: Dataset, tmp_path: Path) -> None:
    postings = tmp_path / "postings"
    invoke("postings", "build", "--checkpoint", run / "model.pt", "--data", deezer.path, "--out", postings)
    cold = deezer.user_ids[int(deezer.cases("test").users[3])]
    engine = ("--engine", "embedded", "--postings", postings)
    found = json.loads(invoke("query", "--user", cold, "-k", 5, "--json", *engine))
    assert len(found["items"]) == 5
    cases = deezer.cases("test").take(np.array([3]))
    model = read_checkpoint(run / "model.pt").model
    load_user_features(model, deezer)
    scores = model.case_scores(cases)(np.array([0]))[0]
    for item in found["items"]:
        number = deezer.item_ids.find(item["item"])
        assert item["score"] == pytest.approx(float(scores[number]), rel=5e-3)
    proof = json.loads(invoke("verify", "--checkpoint", run / "model.pt", "--users", 50, "--json", *engine))
    assert proof["passed"]
    through_engine = json.loads(
        invoke("evaluate", "--checkpoint", run / "model.pt", "--data", deezer.path, "--json", *engine)
    )
    assert through_engine["cases"] == 30
    itself = rank_metrics(model.case_scores(deezer.cases("test")), deezer.cases("test"), 150, convention="deezer")
    assert through_engine["all"]["precision@50"] == pytest.approx(itself["all"]["precision@50"], abs=0.02)
    refused = CliRunner().invoke(
        cli, ["query", "--history", "1 2", "--checkpoint", str(run / "model.pt"), *map(str, engine)]
    )
    assert isinstance(refused.exception, MismatchError)


@pytest.mark.slow
def test_a_checkpoint_without_its_user_features_is_not_asked(run: Path, deezer: Dataset) -> None:
    model = read_checkpoint(run / "model.pt").model
    with pytest.raises(MismatchError, match="holds no user features"):
        model.case_scores(deezer.cases("test"))


def test_targets_are_no_inputs(deezer: Dataset) -> None:
    inputs = [spec.name for spec in feature_tables(deezer, "user")[0]]
    assert len(inputs) == 39
    assert "embedding" not in inputs
    specs, tables = feature_tables(deezer, "user", "target")
    assert [(spec.name, spec.size) for spec in specs] == [("embedding", 128)]
    assert tables["embedding"].shape == (300, 128)


def test_a_tokenizer_of_histories_is_refused_before_it_trains(deezer: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="asks for users without a history"):
        train(load_config(overrides=SMALL), deezer, tmp_path, bars=False)


@pytest.mark.parametrize("name", ["all_to_all", "tdm"])
def test_other_systems_rank_for_users_without_a_history(name: str, deezer: Dataset, tmp_path: Path) -> None:
    shorter = {f"{stage}.epochs": 1 for stage in ("training.tower", "all_to_all.stage", "tdm.stage")}
    options = FEATURES | shorter | {"model": name, "tokenizer.kind": "dnn", "all_to_all.form": "late"}
    trained = train(load_config(overrides=options), deezer, tmp_path, bars=False)
    model = read_checkpoint(trained.model_path).model
    load_user_features(model, deezer)
    scores = model.case_scores(deezer.cases("test"))(np.arange(3))
    assert scores.shape == (3, deezer.num_items)
    assert not np.isnan(scores).any()
    assert not np.array_equal(scores[0], scores[1])


@pytest.mark.parametrize("more", [{"model": "melu"}, {"model": "dropoutnet", "latents.source": "svd"}])
def test_a_model_that_reads_no_features_asks_for_none(more: dict[str, str], deezer: Dataset, tmp_path: Path) -> None:
    model = build_model(load_config(overrides=SMALL | {"tokenizer.use_features": False} | more), deezer)
    save_checkpoint(tmp_path / "model.pt", model, deezer.item_ids, "", {}, deezer.events_hash)
    load_user_features(read_checkpoint(tmp_path / "model.pt").model, deezer)
