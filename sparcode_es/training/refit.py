"""Training again on the validation events too, with all that validation chose the first time.

The configuration of a refit says everything: the epochs, the memories' weights, and that nothing is validated. What it is
worth can only be said on the test split, unless it learned from that one as well.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from sparcode_es.config import Config, StageConfig, load_config
from sparcode_es.data.dataset import Dataset
from sparcode_es.errors import ConfigError
from sparcode_es.training.build import require_same_items
from sparcode_es.training.checkpoint import read_checkpoint


def refit_config(run: Path, with_test: bool = False) -> Config:
    """The configuration that trains again what the folder `run` trained. with_test: on the test events as well.

    Raises `ConfigError` when it is not finished.
    """
    if not (run / "config.toml").exists():
        raise ConfigError(
            f"{run} is no training's folder: it has no config.toml; give the --out of a finished training"
        )
    config = load_config(run / "config.toml")
    if config.training.with_validation:
        raise ConfigError(f"{run} was itself trained on the validation events; give the training that chose its epochs")
    report: dict[str, Any] = {}
    quantizer = config.quantizer
    names = _names(config)
    for name in names:
        if (run / name).exists():
            found = read_checkpoint(run / name)
            report, quantizer = report | found.report, found.model.config.quantizer
            if name == "two_tower.pt":
                config = _of_tower(config, found.model.config, run)
        elif name == names[-1]:
            raise ConfigError(f"{run} has no {name}: its training has not finished; run it again first")
    chosen = _with_choices(replace(config, quantizer=quantizer), report)
    return replace(chosen, training=replace(chosen.training, with_test=with_test))


def on_other_events(run: Path, config: Config, dataset: Dataset) -> bool:
    """Whether what `config` trains again was trained on other events than the data's, as a log that has grown has: its epochs
    and weights were chosen on those. Raises `MismatchError` for other items."""
    found = read_checkpoint(run / _names(config)[-1])
    require_same_items(found.item_ids, dataset)
    return found.events != dataset.events_hash


def _names(config: Config) -> tuple[str, ...]:
    """The checkpoints that a finished training may have, the one that it must have last."""
    return ("two_tower.pt",) if config.model == "two_tower" else ("two_tower.pt", "model.pt")


def _of_tower(config: Config, tower: Config, run: Path) -> Config:
    """The configuration with the stage that trained the tower, which may have been given."""
    if tower.loss != config.loss:
        raise ConfigError(
            f"{run} began from a tower with another loss; a refit would train another: refit that tower first"
        )
    return replace(config, training=replace(config.training, tower=tower.training.tower))


def _with_choices(config: Config, report: dict[str, Any]) -> Config:
    """The configuration with what a report says validation chose."""
    training = config.training
    own = getattr(config, config.model, None)
    chosen = replace(
        config,
        item_codes=replace(
            config.item_codes,
            weight=report.get("item_codes_weight"),
            ridge_share=report.get("ridge_share"),
            repeat_weight=report.get("repeat_weight"),
            repeat_power=report.get("repeat_power"),
        ),
        scorer=replace(config.scorer, memory_weight=report.get("memory_weight")),
        training=replace(
            training,
            with_validation=True,
            tower=_stop(training.tower, report.get("tower_best_epoch", report.get("model_best_epoch"))),
            codes=replace(
                _stop(training.codes, report.get("codes_best_epoch")), learned_share=report.get("learned_share", 1.0)
            ),
        ),
    )
    if own is not None and hasattr(own, "stage"):
        own = replace(own, stage=_stop(own.stage, report.get("model_best_epoch")))
        chosen = replace(chosen, **{config.model: own})
    return chosen


def _stop(stage: StageConfig, epoch: int | None) -> Any:
    """A stage that ends after this epoch; a tower that was given may have had more of them than the stage."""
    most = stage.epochs if epoch is None or stage.epochs is None else max(stage.epochs, epoch)
    return replace(stage, stop_after=epoch, epochs=most)
