"""What a table compares: rows, their configurations, and their trainings, which are shared between tables."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import click
import numpy as np

from sparcode_es.config import (
    Config,
    ItemCodesConfig,
    PostingsConfig,
    TrainingConfig,
    load_config,
    read_by_model,
    to_mapping,
)
from sparcode_es.data.dataset import Cases, Dataset
from sparcode_es.errors import ConfigError, DataError
from sparcode_es.models.base import RankingModel
from sparcode_es.training.build import MODELS, load_user_features
from sparcode_es.training.checkpoint import read_checkpoint
from sparcode_es.training.loop import TrainResult, train
from sparcode_es.training.refit import refit_config
from sparcode_es.training.trainer import pick_device, sample_cases

SMALL: dict[str, Any] = {
    "tokenizer.dim": 32,
    "quantizer.codes": 128,
    "loss.num_negatives": 256,
    "training.tower.epochs": 6,
    "training.tower.patience": 2,
    "training.codes.epochs": 2,
    "training.codes.patience": 1,
    "training.codes.batch_size": 128,
    "training.validation_users": 1000,
    "all_to_all.stage.epochs": 2,
    "all_to_all.stage.patience": 1,
    "tdm.stage.epochs": 6,
    "tdm.stage.patience": 2,
    "tdm.relearn_every": 2,
}
"""Over the preset with `--scale small`: what two cores train in minutes. Nothing is converged."""
SMALL_LENGTHS = {key for key in SMALL if key.endswith((".epochs", ".patience"))}
"""Of these a row has no more than `SMALL` says, so that all rows are trained alike."""
SMALL_CASES = 5000
"""Test cases that `--scale small` measures at most, drawn once."""
SMALL_NOTE = (
    f"`--scale small`: few epochs, D = {SMALL['tokenizer.dim']}, N = {SMALL['quantizer.codes']} where the grid says nothing "
    f"else, at most {SMALL_CASES:,} test cases. Nothing is converged: this shows that the command works, not what the "
    "systems are worth."
)

CODES_ONLY: dict[str, Any] = {"scorer.memory": False, "item_codes.latest": 0, "quantizer.min_perplexity": 0.0}
"""For comparisons of what is learned: nothing remembered beside it, and a codebook may be as bad as it is."""
HARD_CODES: dict[str, Any] = {"quantizer.assignment": "nearest"}
"""The paper's codes: one a token, boost 1 (Eq. 7)."""
WEIGHTED_CODES: dict[str, Any] = {
    "quantizer.assignment": "pursuit",
    "quantizer.codebooks": 1,
    "quantizer.codes_per_token": 8,
    "quantizer.gradient": "commitment",
}
"""Ours: several codes a token, each with a boost."""


@dataclass(frozen=True)
class Row:
    """A system in a table: a model by its name in `MODELS`, what it changes in the preset, and the paper's figures."""

    name: str
    """How `--rows` calls it."""
    label: str
    model: str
    overrides: Mapping[str, Any] = field(default_factory=dict)
    paper: Mapping[str, float] = field(default_factory=dict)
    """Metric → per cent; empty where the paper has no such row."""


def chosen(rows: Sequence[Row], names: str | None) -> list[Row]:
    """The rows that `--rows` names, all of them without one. Raises `ConfigError` for names and models that are not known."""
    wanted = [row.name for row in rows] if names is None else names.split(",")
    by_name = {row.name: row for row in rows}
    if unknown := [name for name in wanted if name not in by_name]:
        raise ConfigError(f"there is no row {', '.join(unknown)}; the rows are: {','.join(by_name)}")
    found = [by_name[name] for name in wanted]
    if missing := sorted({row.model for row in found} - set(MODELS)):
        rest = ",".join(row.name for row in found if row.model in MODELS)
        known = ", ".join(sorted(MODELS))
        raise ConfigError(
            f"this release has no model {', '.join(missing)}; it has: {known}; for the rest give --rows {rest}"
        )
    return found


@dataclass(frozen=True)
class Bench:
    """What a benchmark command was told, and the trainings under its RUNS folder."""

    dataset: Dataset
    preset: str | None
    """None: the defaults, which `sparcode-es train` takes without flags."""
    seeds: tuple[int, ...]
    scale: str
    runs: Path
    out: Path
    settings: Mapping[str, Any]
    """`--set`: over preset, scale and row."""
    label: str = ""
    """Stands in the names of what is written."""
    first_targets: int | None = None
    """Of each case's targets only this many are measured, the earliest; None: all. `ConfigError` where that leaves none out."""

    def __post_init__(self) -> None:
        if self.first_targets is not None and self.first_targets >= (most := targets_of(self.cases).max()):
            raise ConfigError(
                f"no case of {self.dataset.path} asks for more than {most} items, so the first {self.first_targets} are all; "
                "ask for fewer"
            )

    @property
    def small(self) -> bool:
        """Whether `--scale small` was given."""
        return self.scale == "small"

    @property
    def told(self) -> str:
        """Data, seeds and scale, for a picture that stands alone."""
        first = "" if self.first_targets is None else f", the first {self.first_targets} items of each case"
        return data_and_seeds(self.dataset.name, self.seeds) + first + (", small scale" if self.small else "")

    @functools.cached_property
    def cases(self) -> Cases:
        """The test cases. Raises `DataError` when there are none."""
        cases = self.dataset.cases("test")
        if not len(cases):
            raise DataError(f"{self.dataset.path} has no cases in its test split; import it with another --split")
        return sample_cases(cases, SMALL_CASES, 0) if self.small else cases

    @property
    def measured_targets(self) -> np.ndarray:
        """How many targets of each case are measured, int64 [n]."""
        lengths = targets_of(self.cases)
        return lengths if self.first_targets is None else np.minimum(lengths, self.first_targets)

    @property
    def asked(self) -> str:
        """`943 test cases`, or `943 test cases of 4,715 items`, where a case asks for several."""
        cases, targets = len(self.cases), int(self.measured_targets.sum())
        first = "" if self.first_targets is None else f", the first {self.first_targets} of each"
        return f"{cases:,} test cases" + ("" if cases == targets and not first else f" of {targets:,} items{first}")

    def config(self, model: str, overrides: Mapping[str, Any], seed: int) -> Config:
        """The preset or the defaults, then the scale, then the row's overrides, then `--set`. Raises `ConfigError`."""
        values = {**overrides, **self.settings}
        if self.small:
            values = {**SMALL, **values, **{key: min(values[key], SMALL[key]) for key in SMALL_LENGTHS & values.keys()}}
        return load_config(preset=self.preset, overrides=values | {"model": model, "training.seed": seed})

    def train(self, model: str, overrides: Mapping[str, Any], seed: int) -> TrainResult:
        """Train what is missing. What begins from a tower begins from one that all with its tokenizer share."""
        config, tower = self.trained_as(model, overrides, seed), None
        if MODELS[model].begins_from_tower:
            tower = self._train(tower_config(config)).model_path
        return self._train(config, tower)

    def trained_as(self, model: str, overrides: Mapping[str, Any], seed: int) -> Config:
        """The configuration that `train` trains with; see `config`."""
        config = self.config(model, overrides, seed)
        return tower_config(config) if model == "two_tower" else config

    def folder(self, config: Config) -> Path:
        """Where `train` trains what `trained_as` says."""
        return self.runs / self.dataset.name / folder_name(config) / f"seed-{config.training.seed}"

    def _train(self, config: Config, tower: Path | None = None) -> TrainResult:
        return train(
            config, self.dataset, self.folder(config), tower=tower, echo=lambda line: click.echo(line, err=True)
        )

    def refit(self, overrides: Mapping[str, Any], seed: int) -> TrainResult:
        """SparCode and its tower, trained again on the validation events too (`train --refit`)."""
        folder = self.train("sparcode", overrides, seed).model_path.parent
        return train(refit_config(folder), self.dataset, folder / "refit", echo=lambda line: click.echo(line, err=True))

    def model(self, name: str, overrides: Mapping[str, Any], seed: int) -> RankingModel:
        """The trained model; see `load`."""
        return self.load(self.train(name, overrides, seed))

    def load(self, trained: TrainResult) -> RankingModel:
        """A trained model in evaluation mode, with the data folder's user features."""
        return self.read(trained.model_path)

    def read(self, path: Path) -> RankingModel:
        """A checkpoint's model in evaluation mode, with the data folder's user features, where its training would be."""
        model = read_checkpoint(path).model
        load_user_features(model, self.dataset)
        return model.to(pick_device(model.config.training.device))


def data_and_seeds(data: str, seeds: Sequence[int]) -> str:
    """`beauty, seeds 0, 1`."""
    return f"{data}, seed{'s' if seeds[1:] else ''} {', '.join(map(str, seeds))}"


def tower_config(config: Config) -> Config:
    """The configuration of a two-tower with the same tokenizer; what it does not read is left at the defaults."""
    plain = TrainingConfig()
    return Config(
        model="two_tower",
        tokenizer=replace(config.tokenizer, item_tokens=1),
        item_codes=ItemCodesConfig(latest=0),
        two_tower=config.two_tower,
        loss=config.loss,
        training=replace(config.training, codes=plain.codes, freeze_tokenizer=plain.freeze_tokenizer),
    )


def settings_of(preset: str) -> dict[str, Any]:
    """The whole of a preset, as overrides over another one."""
    settings = flat(to_mapping(load_config(preset=preset)))
    return {key: value for key, value in settings.items() if key not in ("model", "training.seed")}


def folder_name(config: Config) -> str:
    """A training's folder: model, tokenizer, and a hash of what the model reads and is not the default, but for the seed.

    A configuration key that a later release adds leaves the name as it is.
    """
    read = flat(read_by_model(config)).keys() - {"training.seed"}
    found = {key: value for key, value in changed(config).items() if key in read}
    digest = hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()[:10]
    return f"{config.model}-{config.tokenizer.kind}-{digest}"


def changed(config: Config | PostingsConfig) -> dict[str, Any]:
    """What differs from the defaults: `a.b` → value."""
    plain = flat(to_mapping(type(config)()))
    return {key: value for key, value in flat(to_mapping(config)).items() if plain.get(key) != value}


def targets_of(cases: Cases) -> np.ndarray:
    """How many targets each case has, int64 [n]."""
    return np.diff(cases.target_offsets.astype(np.int64))


def flat(tables: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """`a.b` → value."""
    found: dict[str, Any] = {}
    for key, value in tables.items():
        found |= flat(value, f"{where}{key}.") if isinstance(value, Mapping) else {where + key: value}
    return found
