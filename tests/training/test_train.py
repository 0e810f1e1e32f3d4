"""Training on a small log: what it writes, that it learns, that a killed run ends as an unbroken one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from sparcode_es.baselines.popularity import popularity
from sparcode_es.baselines.two_tower import TwoTower
from sparcode_es.config import load_config, to_toml
from sparcode_es.data.dataset import Dataset
from sparcode_es.errors import CheckpointError, ConfigError, StorageError, TrainingError
from sparcode_es.evaluation.ranking import rank_metrics
from sparcode_es.files import only_writer
from sparcode_es.models.features import FeatureSpec
from sparcode_es.models.sparcode import SparCode
from sparcode_es.training.build import build_model
from sparcode_es.training.checkpoint import load_checkpoint, read_checkpoint, save_checkpoint
from sparcode_es.training.codes import sample_tokens
from sparcode_es.training.loop import fit_codebook, train
from sparcode_es.training.trainer import Trainer
from training.small import SMALL


@pytest.mark.parametrize("members", [1, 2])
def test_it_learns_and_writes_what_it_says(chain: Path, members: int, tmp_path: Path) -> None:
    dataset, settings = Dataset.open(chain), SMALL | {"tokenizer.members": members}
    result = train(load_config(overrides=settings), dataset, tmp_path, bars=False)
    cases = dataset.cases("test")
    twin = read_checkpoint(tmp_path / "two_tower.pt").model
    assert isinstance(twin, TwoTower)
    model = load_checkpoint(result.model_path)
    found = {
        name: rank_metrics(scores, cases, dataset.num_items)["all"]["recall@5"]
        for name, scores in {
            "popularity": popularity(model.config, dataset).case_scores(cases),
            "two_tower": twin.case_scores(cases),
            "sparcode": model.case_scores(cases),
        }.items()
    }
    assert found["popularity"] < 0.4 < 0.8 < min(found["two_tower"], found["sparcode"]), found
    records = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert records[0] == {"stage": "tower", "epochs_at_most": 6, "steps_an_epoch": records[0]["steps_an_epoch"]}
    assert [r["epoch"] for r in records[1:] if r["stage"] == "tower"] == [1, 2, 3, 4, 5, 6]
    assert all(0 < r["perplexity"] <= 1 for r in records if r["stage"] == "codes" and "epoch" in r)
    assert result.report["tower_validation"] == max(r.get("ndcg@50", 0.0) for r in records if r["stage"] == "tower")
    assert (tmp_path / "config.toml").read_text() == to_toml(load_config(overrides=settings))
    assert result.report["perplexity"] > 0.4


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"quantizer.assignment": "nearest", "quantizer.gradient": "straight_through", "tokenizer.tokens": 3},
        {
            "quantizer.assignment": "nearest",
            "quantizer.gradient": "soft",
            "quantizer.codebooks": 2,
            "scorer.memory": False,
        },
        {"quantizer.assignment": "nearest", "quantizer.gradient": "commitment", "quantizer.shared": False},
        {"quantizer.gradient": "soft", "scorer.kind": "dnn", "tokenizer.kind": "gru"},
        {"scorer.kind": "maxsim", "tokenizer.kind": "dnn", "tokenizer.item_tokens": 2, "loss.negatives": "uniform"},
        {
            "scorer.kind": "crossnet",
            "scorer.cross_layers": 1,
            "loss.negatives": "in_batch",
            "tokenizer.token_heads": "senet",
        },
    ],
    ids=lambda options: "-".join(str(v) for v in options.values()),
)
def test_every_part_trains_end_to_end(chain: Path, tmp_path: Path, options: dict[str, object]) -> None:
    settings = (
        SMALL | {"training.tower.epochs": 2, "training.codes.epochs": 2, "training.freeze_tokenizer": False} | options
    )
    train(load_config(overrides=settings), Dataset.open(chain), tmp_path, bars=False)
    twin, model = read_checkpoint(tmp_path / "two_tower.pt").model, load_checkpoint(tmp_path / "model.pt")
    moved = not torch.equal(twin.tokenizer.item_embedding.weight, model.tokenizer.item_embedding.weight)
    assert moved, "the tokenizer should go on learning in stage `codes`"


def test_a_resumed_run_ends_with_the_same_weights(chain: Path, tmp_path: Path) -> None:
    """Stop after each stage's first epochs, by an exception between two epochs, and go on."""
    config, dataset = load_config(overrides=SMALL | {"training.freeze_tokenizer": False}), Dataset.open(chain)
    train(config, dataset, tmp_path / "whole", bars=False)
    for stop in ("tower  epoch 2", "codes  epoch 1"):

        def stop_there(line: str, stop: str = stop) -> None:
            if stop in line:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            train(config, dataset, tmp_path / "broken", echo=stop_there, bars=False)
    train(config, dataset, tmp_path / "broken", bars=False)
    whole, broken = (load_checkpoint(tmp_path / name / "model.pt").state_dict() for name in ("whole", "broken"))
    for name, value in whole.items():
        assert torch.equal(value, broken[name]), name


@pytest.mark.slow
def test_sigkill_at_three_moments_loses_nothing(chain: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(to_toml(load_config(overrides=SMALL)))
    command = [sys.executable, "-m", "sparcode_es_cli", "train", "--data", str(chain), "--config", str(config)]
    subprocess.run([*command, "--out", str(tmp_path / "whole")], check=True, capture_output=True)
    broken = tmp_path / "broken"
    for moment in ("tower.state", "two_tower.pt", "codes.state"):
        child = subprocess.Popen([*command, "--out", str(broken)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while not (broken / moment).exists() and child.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        assert (broken / moment).exists()
    subprocess.run([*command, "--out", str(broken)], check=True, capture_output=True)
    whole, again = (load_checkpoint(tmp_path / name / "model.pt") for name in ("whole", "broken"))
    assert whole.model_hash == again.model_hash
    assert not list(broken.glob(".*.tmp"))


def test_a_tower_serves_any_number_of_item_tokens_and_no_other_tokenizer(chain: Path, tmp_path: Path) -> None:
    settings = SMALL | {"training.tower.epochs": 1, "training.codes.epochs": 1}
    dataset = Dataset.open(chain)
    tower = train(load_config(overrides=settings | {"model": "two_tower"}), dataset, tmp_path / "tower").model_path
    more = load_config(overrides=settings | {"tokenizer.item_tokens": 3})
    train(more, dataset, tmp_path / "codes", tower=tower, bars=False)
    model, twin = load_checkpoint(tmp_path / "codes" / "model.pt"), read_checkpoint(tower).model
    assert torch.equal(model.tokenizer.item_embedding.weight, twin.tokenizer.item_embedding.weight)
    with pytest.raises(ConfigError, match="another tokenizer"):
        other = load_config(overrides=settings | {"tokenizer.tokens": 2})
        train(other, dataset, tmp_path / "other", tower=tower, bars=False)


def test_a_tower_that_nothing_can_begin_from_is_refused(chain: Path, tmp_path: Path) -> None:
    settings = SMALL | {"training.tower.epochs": 1, "training.codes.epochs": 1}
    dataset = Dataset.open(chain)
    two_tower = settings | {"model": "two_tower"}
    untied = load_config(overrides=two_tower | {"two_tower.untied_items": True})
    tower = train(untied, dataset, tmp_path / "untied", bars=False).model_path
    with pytest.raises(ConfigError, match=r"untied_items, which nothing else can begin from"):
        train(load_config(overrides=settings), dataset, tmp_path / "codes", tower=tower, bars=False)
    other = tmp_path / "other.pt"
    price = [FeatureSpec("price", "numerical", 1)]
    for users, features in ((dataset.num_users, price), (dataset.num_users + 1, [])):
        model = TwoTower(load_config(overrides=two_tower), dataset.num_items, users, item_features=features)
        save_checkpoint(other, model, dataset.item_ids, str(chain), {}, dataset.events_hash)
        with pytest.raises(ConfigError, match="trained on other features or users"):
            train(load_config(overrides=settings), dataset, tmp_path / "codes", tower=other, bars=False)


def test_a_collapsed_codebook_fails_the_training(chain: Path, tmp_path: Path) -> None:
    settings = SMALL | {"quantizer.min_perplexity": 0.99, "training.tower.epochs": 1}
    with pytest.raises(TrainingError, match="collapsed"):
        train(load_config(overrides=settings), Dataset.open(chain), tmp_path, bars=False)


def test_a_training_that_failed_in_its_first_epoch_leaves_the_folder_free(chain: Path, tmp_path: Path) -> None:
    settings = SMALL | {"model": "two_tower", "training.tower.epochs": 1}
    dataset = Dataset.open(chain)
    with pytest.raises(TrainingError, match="the loss is"):
        train(load_config(overrides=settings | {"training.tower.learning_rate": 1e30}), dataset, tmp_path, bars=False)
    assert train(load_config(overrides=settings), dataset, tmp_path, bars=False).model_path.exists()


def test_two_trainings_in_one_folder_are_one_too_many(chain: Path, tmp_path: Path) -> None:
    settings = SMALL | {"model": "two_tower", "training.tower.epochs": 1}
    with only_writer(tmp_path / "run"), pytest.raises(StorageError, match="another run is writing"):
        train(load_config(overrides=settings), Dataset.open(chain), tmp_path / "run", bars=False)


def test_the_state_of_a_training_is_no_checkpoint(chain: Path, tmp_path: Path) -> None:
    settings = SMALL | {"model": "two_tower", "training.tower.epochs": 1}
    train(load_config(overrides=settings), Dataset.open(chain), tmp_path, bars=False)
    with pytest.raises(CheckpointError, match=r"tower\.state is the state of a training.*two_tower\.pt"):
        read_checkpoint(tmp_path / "tower.state")


def test_a_folder_of_another_configuration_is_refused(chain: Path, tmp_path: Path) -> None:
    settings = SMALL | {"training.tower.epochs": 1, "training.codes.epochs": 1}
    train(load_config(overrides=settings), Dataset.open(chain), tmp_path, bars=False)
    with pytest.raises(ConfigError, match="another configuration"):
        train(load_config(overrides=settings | {"training.seed": 1}), Dataset.open(chain), tmp_path, bars=False)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("thesis.tex", "years of work", "holds thesis.tex, which is no file of a training"),
        ("manifest.json", "{}", "holds manifest.json, which is no file of a training"),
        ("config.toml", 'title = "somebody\'s server"', "holds no training of this release"),
    ],
)
def test_a_folder_of_something_else_is_refused(chain: Path, tmp_path: Path, name: str, text: str, words: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(StorageError, match=words):
        train(load_config(overrides=SMALL), Dataset.open(chain), tmp_path, bars=False)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [(name, text)]


def test_what_others_put_beside_a_training_is_no_hindrance(chain: Path, tmp_path: Path) -> None:
    """TensorBoard's files and the output's, which come first, what a killed run left; later an exported encoder, or notes."""
    (tmp_path / "board").mkdir()
    for name in ("events.out.tfevents.1.here", "train.log", ".config.toml.abc.tmp"):
        (tmp_path / name).write_text("")
    settings = load_config(overrides=SMALL | {"model": "two_tower", "training.tower.epochs": 1})
    first = train(settings, Dataset.open(chain), tmp_path, bars=False)
    (tmp_path / "encoder.onnx").write_text("")
    assert train(settings, Dataset.open(chain), tmp_path, bars=False) == first


@pytest.mark.parametrize("damage", ["missing", "truncated", "foreign", "text", "other torch file"])
def test_damaged_checkpoints_are_refused_in_a_sentence(chain: Path, tmp_path: Path, damage: str) -> None:
    path = tmp_path / "model.pt"
    if damage == "truncated":
        settings = SMALL | {"training.tower.epochs": 1, "training.codes.epochs": 1}
        train(load_config(overrides=settings), Dataset.open(chain), tmp_path, bars=False)
        path.write_bytes(path.read_bytes()[:5000])
    elif damage == "foreign":
        path.write_bytes(os.urandom(4096))
    elif damage == "text":
        path.write_text("this is not a checkpoint")
    elif damage == "other torch file":
        torch.save({"weights": torch.zeros(2)}, path)
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    assert str(path) in str(caught.value)


def test_what_does_not_say_its_events_is_refused(chain: Path, tmp_path: Path) -> None:
    config, dataset = (
        load_config(overrides=SMALL | {"model": "two_tower", "training.tower.epochs": 1}),
        Dataset.open(chain),
    )
    path = train(config, dataset, tmp_path, bars=False).model_path
    content = torch.load(path, weights_only=True)
    header = json.loads(content["header"])
    del header["events"]
    torch.save(content | {"header": json.dumps(header)}, path)
    with pytest.raises(CheckpointError, match=rf"{path} is damaged: 'events'"):
        read_checkpoint(path)
    path.unlink()
    content = torch.load(tmp_path / "tower.state", weights_only=True)
    del content["events"]
    torch.save(content, tmp_path / "tower.state")
    with pytest.raises(CheckpointError, match=r"tower\.state belongs to another configuration"):
        train(config, dataset, tmp_path, bars=False)


def test_a_given_tower_is_begun_from_and_kept(chain: Path, tmp_path: Path) -> None:
    settings = SMALL | {"training.tower.epochs": 1, "training.codes.epochs": 1}
    dataset = Dataset.open(chain)
    first = train(load_config(overrides=settings), dataset, tmp_path / "first", bars=False)
    again = train(load_config(overrides=settings), dataset, tmp_path / "again", tower=first.two_tower_path, bars=False)
    assert load_checkpoint(again.model_path).model_hash == load_checkpoint(first.model_path).model_hash
    assert again.two_tower_path is not None
    assert read_checkpoint(again.two_tower_path).report == read_checkpoint(tmp_path / "first/two_tower.pt").report
    with pytest.raises(ConfigError, match="another tokenizer"):
        train(
            load_config(overrides=settings | {"tokenizer.dim": 8}),
            dataset,
            tmp_path / "other",
            tower=first.two_tower_path,
            bars=False,
        )


def test_only_training_counts_towards_perplexity(chain: Path, tmp_path: Path) -> None:
    """A run that is resumed logs the same figures: validation leaves no trace in them."""
    config, dataset = load_config(overrides=SMALL | {"training.tower.epochs": 1}), Dataset.open(chain)
    train(config, dataset, tmp_path / "whole", bars=False)

    def stop(line: str) -> None:
        if "codes  epoch 2" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, dataset, tmp_path / "broken", echo=stop, bars=False)
    train(config, dataset, tmp_path / "broken", bars=False)

    def figures(folder: Path) -> dict[int, float]:
        records = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
        return {r["epoch"]: r["perplexity"] for r in records if r["stage"] == "codes" and "epoch" in r}

    assert figures(tmp_path / "whole") == figures(tmp_path / "broken")


def test_compile_is_asked_of_the_encoder(chain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch.compile itself takes minutes here; what is compiled, and that a model without an encoder says so, does not."""
    compiled: list[object] = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda module: compiled.append(type(module).__name__))
    settings = SMALL | {"training.tower.epochs": 1, "training.compile": True}
    train(load_config(overrides=settings | {"model": "two_tower"}), Dataset.open(chain), tmp_path / "tower", bars=False)
    assert compiled == ["SelfAttentionEncoder"]
    compiled.clear()
    ends = settings | {"training.codes.epochs": 1, "training.freeze_tokenizer": False}
    train(load_config(overrides=ends), Dataset.open(chain), tmp_path / "codes", bars=False)
    assert compiled == ["SelfAttentionEncoder"] * 2
    with pytest.raises(ConfigError, match="popularity has none"):
        train(
            load_config(overrides=settings | {"model": "popularity"}), Dataset.open(chain), tmp_path / "p", bars=False
        )


def test_a_two_tower_checkpoint_has_no_codes(chain: Path, tmp_path: Path) -> None:
    settings = SMALL | {"model": "two_tower", "training.tower.epochs": 1}
    result = train(load_config(overrides=settings), Dataset.open(chain), tmp_path, bars=False)
    with pytest.raises(CheckpointError, match="no codes"):
        load_checkpoint(result.model_path)


def test_codebooks_begin_from_all_positions_or_from_a_sample_of_many(
    chain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = Dataset.open(chain)
    trainer = Trainer(load_config(overrides=SMALL), dataset, tmp_path, lambda line: None, False)
    model = build_model(trainer.config, dataset)
    assert isinstance(model, SparCode)
    every = sample_tokens(trainer, model)
    assert len(every) == trainer.windows.num_positions
    monkeypatch.setattr("sparcode_es.training.codes.AT_ONCE", 10)
    some = sample_tokens(trainer, model, 300)
    assert len(some) == 300 < len(every)
    assert torch.equal(some, sample_tokens(trainer, model, 300))
    assert not torch.equal(some, every[:300])
    assert float(torch.cdist(some[:, 0], every[:, 0]).amin(1).max()) < 1e-3


def test_an_epoch_of_codes_learns_from_so_many_positions_at_most(chain: Path, tmp_path: Path) -> None:
    """Of a long log, each epoch from others; a log that has no more learns as ever."""
    dataset, codes = Dataset.open(chain), {"training.codes.batch_size": 4}
    tower = train(load_config(overrides=SMALL | {"model": "two_tower"}), dataset, tmp_path / "tower", bars=False)

    def trained(name: str, **more: int) -> tuple[list[dict[str, Any]], str]:
        config = load_config(overrides=SMALL | codes | {f"training.codes.{key}": value for key, value in more.items()})
        result = train(config, dataset, tmp_path / name, tower=tower.model_path, bars=False)
        records = [json.loads(line) for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        return [r for r in records if r["stage"] == "codes"], load_checkpoint(result.model_path).model_hash

    whole, whole_hash = trained("whole")
    positions = Trainer(load_config(overrides=SMALL), dataset, tmp_path / "t", print, False).windows.num_positions
    assert whole[0]["steps_an_epoch"] == -(-positions // 32)
    assert trained("enough", positions=positions)[1] == whole_hash
    some, some_hash = trained("some", positions=100)
    assert (some[0]["steps_an_epoch"], some_hash != whole_hash) == (4, True)
    assert len({record["loss"] for record in some[1:]}) == len(some) - 1
    assert trained("again", positions=100)[1] == some_hash


def test_a_codebook_is_no_larger_than_its_log_and_its_catalogue() -> None:
    config = load_config(overrides={"quantizer.codes": 1024, "quantizer.codes_per_token": 8})
    for positions, items, codes, each in (
        (10**6, 10**4, 1024, 8),
        (400, 10**4, 100, 8),
        (10**6, 13, 52, 8),
        (16, 13, 4, 4),
    ):
        fitted = fit_codebook(config, positions, items).quantizer
        assert (fitted.codes, fitted.codes_per_token) == (codes, each)
