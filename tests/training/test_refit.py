"""Training again on the validation events: the same recipe, more events, nothing chosen."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from sparcode_es_cli.evaluate import command
from sparcode_es_cli.main import cli

from sparcode_es.baselines.popularity import popularity
from sparcode_es.config import load_config, to_toml
from sparcode_es.config.training import MOST_EPOCHS
from sparcode_es.data.dataset import Dataset
from sparcode_es.data.labels import TRAIN, VALID
from sparcode_es.errors import ConfigError, MismatchError
from sparcode_es.models.sparcode import SparCode
from sparcode_es.training.checkpoint import read_checkpoint
from sparcode_es.training.loop import train
from sparcode_es.training.refit import refit_config
from training.small import SMALL


def run(dataset: Dataset, out: Path, **more: object) -> Path:
    train(load_config(overrides={**SMALL, "training.codes.epochs": 2, **more}), dataset, out, bars=False)
    return out


@pytest.fixture(scope="module")
def finished(chain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(Dataset.open(chain), tmp_path_factory.mktemp("runs") / "first")


def test_it_repeats_what_was_chosen_on_more_events(chain: Path, finished: Path, tmp_path: Path) -> None:
    dataset = Dataset.open(chain)
    config = refit_config(finished)
    first = read_checkpoint(finished / "model.pt")
    tower = read_checkpoint(finished / "two_tower.pt").report
    result = train(config, dataset, tmp_path, bars=False)
    again = read_checkpoint(result.model_path)
    assert again.model.config.training.with_validation
    assert again.report["item_codes_weight"] == first.report["item_codes_weight"]
    assert again.report["memory_weight"] == first.report["memory_weight"]
    assert again.report["ridge_share"] == first.report["ridge_share"]
    assert again.report["codes_epochs"] == first.report["codes_best_epoch"]
    assert not any(key.endswith("_validation") for key in again.report)
    records = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert sum(r["stage"] == "tower" and "epoch" in r for r in records) == tower["tower_best_epoch"]
    assert not any("ndcg@50" in r for r in records), "nothing was validated"
    assert isinstance(first.model, SparCode)
    assert isinstance(again.model, SparCode)
    valid = int((dataset.labels == VALID).sum())
    assert valid > 0
    assert int(again.model.item_memory.of_item.sum()) == int(first.model.item_memory.of_item.sum()) + valid


def test_a_codebook_that_a_small_log_made_smaller_stays_so(chain: Path, tmp_path: Path) -> None:
    dataset = Dataset.open(chain)
    wanted = {"quantizer.codes": 4096, "training.tower.epochs": 1, "training.codes.epochs": 1}
    first = run(dataset, tmp_path / "first", **wanted)
    fitted = read_checkpoint(first / "model.pt").model.config.quantizer.codes
    assert fitted < 4096
    again = refit_config(first)
    assert again.quantizer.codes == fitted
    result = train(again, dataset, tmp_path / "again", bars=False)
    assert read_checkpoint(result.model_path).model.config.quantizer.codes == fitted


def test_every_system_that_trains_can_be_refitted(chain: Path, tmp_path: Path) -> None:
    dataset = Dataset.open(chain)
    for name in ("two_tower", "all_to_all", "tdm", "popularity"):
        out = run(dataset, tmp_path / name, model=name)
        train(refit_config(out), dataset, tmp_path / f"{name}-again", bars=False)
    again = read_checkpoint(tmp_path / "popularity-again" / "model.pt").model
    both = np.bincount(dataset.train_sequences(with_validation=True).items, minlength=dataset.num_items)
    once = popularity(again.config, dataset).case_scores(dataset.cases("test"))(np.array([0]))[0]
    scores = again.case_scores(dataset.cases("test"))(np.array([0]))[0]
    assert np.array_equal(np.argsort(-scores, kind="stable"), np.argsort(-both, kind="stable"))
    assert not np.array_equal(scores, once)


def test_refusals(chain: Path, finished: Path, tmp_path: Path) -> None:
    dataset = Dataset.open(chain)
    with pytest.raises(ConfigError, match="no training's folder"):
        refit_config(tmp_path)
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "config.toml").write_bytes((finished / "config.toml").read_bytes())
    with pytest.raises(ConfigError, match="has not finished"):
        refit_config(tmp_path / "half")
    config = load_config(tmp_path / "half" / "config.toml")
    (tmp_path / "half" / "config.toml").write_text(to_toml(replace(config, model="two_tower")))
    with pytest.raises(ConfigError, match=r"no two_tower.pt: its training has not finished"):
        refit_config(tmp_path / "half")
    with pytest.raises(ConfigError, match="nothing to choose the epoch of stage tower on"):
        run(dataset, tmp_path / "open", **{"training.with_validation": True})
    (tmp_path / "again").mkdir()
    for name in ("config.toml", "model.pt", "two_tower.pt"):
        (tmp_path / "again" / name).write_bytes((finished / name).read_bytes())
    text = (tmp_path / "again" / "config.toml").read_text()
    (tmp_path / "again" / "config.toml").write_text(text.replace("with_validation = false", "with_validation = true"))
    with pytest.raises(ConfigError, match="itself trained on the validation events"):
        refit_config(tmp_path / "again")


def test_another_log_is_refused_and_one_that_has_grown_is_told(chain: Path, tmp_path: Path) -> None:
    first = run(Dataset.open(chain), tmp_path / "first", model="popularity")
    options = ["--refit", str(first), "--out", str(tmp_path / "again"), "--data"]
    (tmp_path / "log.txt").write_text("".join(f"u{user} a b c d\n" for user in range(5)))
    imported = ["data", "import", str(tmp_path / "log.txt"), "--format", "sequences", "--out"]
    assert CliRunner().invoke(cli, [*imported, str(tmp_path / "other")]).exit_code == 0
    refused = CliRunner().invoke(cli, ["train", *options, str(tmp_path / "other")])
    assert isinstance(refused.exception, MismatchError)
    assert "other items" in str(refused.exception)
    assert not (tmp_path / "again").exists()
    lines = (chain.parent / "chain.txt").read_text().splitlines()
    (tmp_path / "log.txt").write_text("\n".join([*lines, f"u {lines[0].split(maxsplit=1)[1]}"]) + "\n")
    assert CliRunner().invoke(cli, [*imported, str(tmp_path / "grown")]).exit_code == 0
    for data, told in ((tmp_path / "grown", True), (chain, False)):
        done = CliRunner().invoke(cli, ["train", *options[:3], str(tmp_path / f"of-{data.name}"), "--data", str(data)])
        assert done.exit_code == 0, done.output
        assert (f"{first} was trained on other events than those of {data}" in done.stderr) == told


def test_a_small_log_gets_more_epochs_which_its_folder_and_its_refit_name(chain: Path, tmp_path: Path) -> None:
    dataset = Dataset.open(chain)
    settings = {key: value for key, value in SMALL.items() if key != "training.tower.epochs"}
    overrides = {**settings, "model": "two_tower", "training.tower.patience": 1, "training.tower.batch_size": 100_000}
    train(load_config(overrides=overrides), dataset, tmp_path / "first", bars=False)
    assert load_config(tmp_path / "first" / "config.toml").training.tower.epochs == MOST_EPOCHS
    again = refit_config(tmp_path / "first").training.tower
    assert again.epochs == MOST_EPOCHS
    assert again.stop_after == read_checkpoint(tmp_path / "first" / "two_tower.pt").report["tower_best_epoch"]
    # The same command again finds it finished, as it finds one that was begun when another number was the default.
    train(load_config(overrides=overrides), dataset, tmp_path / "first", bars=False)
    config = tmp_path / "first" / "config.toml"
    config.write_text(config.read_text().replace(f"epochs = {MOST_EPOCHS}", "epochs = 40"))
    train(load_config(overrides=overrides), dataset, tmp_path / "first", bars=False)


def test_evaluate_says_that_validation_was_trained_on(chain: Path, tmp_path: Path) -> None:
    dataset = Dataset.open(chain)
    train(refit_config(run(dataset, tmp_path / "first", model="two_tower")), dataset, tmp_path / "again", bars=False)
    for folder, split, said in (("again", "valid", True), ("again", "test", False), ("first", "valid", False)):
        checkpoint = str(tmp_path / folder / "two_tower.pt")
        done = CliRunner().invoke(command, ["--checkpoint", checkpoint, "--data", str(chain), "--split", split])
        assert done.exit_code == 0, done.output
        assert ("has learned from these events" in done.output) == said


def test_a_given_tower_is_trained_again_as_it_was(chain: Path, tmp_path: Path) -> None:
    dataset = Dataset.open(chain)
    tower = (
        run(dataset, tmp_path / "tower", model="two_tower", **{"training.tower.learning_rate": 0.02}) / "two_tower.pt"
    )
    short = SMALL | {"training.codes.epochs": 1}
    train(load_config(overrides=short), dataset, tmp_path / "codes", tower=tower, bars=False)
    assert refit_config(tmp_path / "codes").training.tower.learning_rate == 0.02
    other = load_config(overrides=short | {"loss.num_negatives": 7})
    train(other, dataset, tmp_path / "other", tower=tower, bars=False)
    with pytest.raises(ConfigError, match="a tower with another loss"):
        refit_config(tmp_path / "other")


def test_it_may_learn_from_the_test_events_too(chain: Path, finished: Path, tmp_path: Path) -> None:
    dataset, runner = Dataset.open(chain), CliRunner()
    refit = ["train", "--refit", str(finished), "--data", str(chain), "--out", str(tmp_path / "all"), "--with-test"]
    done = runner.invoke(cli, refit)
    assert done.exit_code == 0, done.output
    again, first = (read_checkpoint(folder / "model.pt").model for folder in (tmp_path / "all", finished))
    assert again.config.training.learned_splits == {"valid", "test"}
    assert isinstance(first, SparCode)
    assert isinstance(again, SparCode)
    held_out = int((dataset.labels != TRAIN).sum())
    assert int(again.item_memory.of_item.sum()) == int(first.item_memory.of_item.sum()) + held_out
    checkpoint = ["--checkpoint", str(tmp_path / "all" / "two_tower.pt"), "--data", str(chain)]
    told = runner.invoke(cli, ["evaluate", *checkpoint])
    assert "has learned from these events (train --refit): nothing here can say what it is worth" in told.stderr
    assert (
        runner.invoke(cli, ["train", "--data", str(chain), "--out", str(tmp_path / "b"), "--with-test"]).exit_code == 2
    )
    with pytest.raises(ConfigError, match=r"with_test needs training\.with_validation"):
        load_config(overrides={"training.with_test": True})


def test_held_out_users_and_what_they_had_before_are_learned_from(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text(
        "".join(f"{u} {' '.join(str((u + k) % 9) for k in range(6))}\n" for u in range(30))
    )
    command = ["data", "import", str(tmp_path / "log.txt"), "--split", "users", "--out", str(tmp_path / "data")]
    assert CliRunner().invoke(cli, command).exit_code == 0
    dataset = Dataset.open(tmp_path / "data")
    asked = [len(dataset.cases(split)) for split in ("valid", "test")]
    assert min(asked) > 0
    lengths = [
        len(dataset.train_sequences(with_validation, with_test))
        for with_validation, with_test in ((False, False), (True, False), (True, True))
    ]
    assert lengths == [30 - sum(asked), 30 - asked[1], 30]
    assert len(dataset.train_sequences(True, True).items) == dataset.num_events
