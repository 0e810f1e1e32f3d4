"""Training, from a configuration and a data folder to a checkpoint.

Most systems are trained whole, by their own loss. Some begin from a two-tower (`RankingModel.begins_from_tower`): stage
`tower` trains the tokenizer and the item embeddings with a dot product, which is the two-tower twin, kept as `two_tower.pt`.
SparCode's second stage is `codes` (see `sparcode_es.training.codes`). Last, its memories are filled and their weights chosen
on validation.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from sparcode_es.baselines.two_tower import TwoTower
from sparcode_es.config import Config
from sparcode_es.data.dataset import Dataset
from sparcode_es.errors import ConfigError
from sparcode_es.files import only_writer
from sparcode_es.models.base import RankingModel
from sparcode_es.models.encode import assign_codes
from sparcode_es.models.sparcode import SparCode
from sparcode_es.models.tokenizers import Tokenizer
from sparcode_es.training.build import MODELS, build_model, read_features
from sparcode_es.training.checkpoint import Checkpoint, read_checkpoint, save_checkpoint
from sparcode_es.training.codes import sample_tokens, train_codes
from sparcode_es.training.memory import fit_memories
from sparcode_es.training.stage import Listener, StageState
from sparcode_es.training.trainer import Trainer


@dataclass(frozen=True)
class TrainResult:
    """Where the checkpoints lie, and what validation said."""

    model_path: Path
    two_tower_path: Path | None
    report: dict[str, Any]


def train(
    config: Config,
    dataset: Dataset,
    out: Path,
    *,
    tower: Path | None = None,
    echo: Callable[[str], None] = lambda line: None,
    bars: bool = True,
    listen: Listener | None = None,
) -> TrainResult:
    """Train what `config.model` names into the folder `out`; run again after a kill, it goes on where it was.

    tower: a two-tower checkpoint to begin from, instead of training one. listen: is told each record of the log, as
    `sparcode_es.training.tensorboard` is. Raises `ConfigError`, `DataError`, `TrainingError`, `StorageError`; the last also while
    another run trains there, and for a folder that holds something else.
    """
    if tower is not None and not MODELS[config.model].begins_from_tower:
        able = ", ".join(name for name, kind in MODELS.items() if kind.begins_from_tower)
        raise ConfigError(f"model {config.model} does not begin from a tower ({able} do); train it without one")
    with only_writer(out):
        return _train(Trainer(config, dataset, out, echo, bars, listen), tower)


def _train(trainer: Trainer, tower: Path | None) -> TrainResult:
    config, out = trainer.config, trainer.out
    model_path, tower_path = out / "model.pt", out / "two_tower.pt"
    if config.model == "two_tower":
        _whole(trainer, config, tower_path, "tower")
        return TrainResult(tower_path, tower_path, read_checkpoint(tower_path).report)
    twin = _twin(trainer, tower, tower_path) if MODELS[config.model].begins_from_tower else None
    if config.model == "sparcode":
        assert twin is not None
        report = _with_codes(trainer, twin, model_path)
        return TrainResult(model_path, tower_path, _tower_report(trainer, tower_path) | report)
    _whole(trainer, config, model_path, "model", twin)
    first = _tower_report(trainer, tower_path) if twin else {}
    return TrainResult(model_path, tower_path if twin else None, first | read_checkpoint(model_path).report)


def _tower_report(trainer: Trainer, path: Path) -> dict[str, Any]:
    """The report of the two-tower that the model begins from; without its validation where it, given, had another metric."""
    found = read_checkpoint(path)
    if found.model.config.training.metric == trainer.config.training.metric:
        return found.report
    return {key: value for key, value in found.report.items() if key != "tower_validation"}


def _whole(trainer: Trainer, config: Config, path: Path, stage: str, twin: TwoTower | None = None) -> RankingModel:
    """The model of `config` trained whole into `path`, beginning from `twin` where there is one, or read from there."""
    if path.exists():
        return _of_this_data(trainer, path, "choose another folder").model.to(trainer.device)
    torch.manual_seed(config.training.seed)
    model = build_model(config, trainer.dataset).to(trainer.device)
    if config.training.compile:
        _compile(model)
    model.prepare(trainer.sequences)
    if twin is not None:
        model.begin_from(twin)
    learns = any(parameter.requires_grad for parameter in model.parameters())
    report = _report(trainer.train_whole(model, stage), stage) if learns else {}
    _save(trainer, model, path, report)
    return model


def _of_this_data(trainer: Trainer, path: Path, advice: str) -> Checkpoint:
    """Read a checkpoint. Raises `ConfigError`, with `advice`, when its items or events are not the data folder's: what this one
    tests with it may have been trained on."""
    found, dataset = read_checkpoint(path), trainer.dataset
    if list(found.item_ids) != list(dataset.item_ids):
        raise ConfigError(f"{path} was trained on other items than those of {dataset.path}; {advice}")
    if found.events != dataset.events_hash:
        raise ConfigError(
            f"{path} was trained on other events than those of {dataset.path}, or another split; {advice}"
        )
    return found


def _compile(model: RankingModel) -> None:
    """torch.compile the encoder of a model's tokenizer. Raises `ConfigError` for a model that has none."""
    tokenizer = getattr(model, "tokenizer", None)
    if not isinstance(tokenizer, Tokenizer):
        raise ConfigError(f"training.compile compiles a tokenizer, and {model.config.model} has none; set it to false")
    tokenizer.encoder.compile()


def _save(trainer: Trainer, model: RankingModel, path: Path, report: dict[str, Any]) -> None:
    dataset = trainer.dataset
    save_checkpoint(path, model, dataset.item_ids, str(dataset.path.resolve()), report, dataset.events_hash)


def _twin(trainer: Trainer, given: Path | None, path: Path) -> TwoTower:
    """Stage 1's two-tower: given, already trained here, or trained now."""
    if given is None:
        twin = _whole(trainer, replace(trainer.config, model="two_tower"), path, "tower")
    else:
        found = _of_this_data(trainer, given, "train a tower for these")
        twin = found.model.to(trainer.device)
    if not isinstance(twin, TwoTower):
        raise ConfigError(f"{given} is not a two-tower checkpoint; give the two_tower.pt of a training")
    if twin.output_item_embedding is not None:
        raise ConfigError(
            f"{given} has two_tower.untied_items, which nothing else can begin from; give a tower without"
        )
    # A two-tower does not read K_c.
    wanted = replace(trainer.config.tokenizer, item_tokens=twin.config.tokenizer.item_tokens)
    if twin.config.tokenizer != wanted:
        raise ConfigError(f"{given or path} was trained with another tokenizer; train a tower for this one")
    if given is not None:
        specs, _ = read_features(twin.config, trainer.dataset)
        known = (twin.num_users, list(twin.user_specs), list(twin.item_specs))
        if known != (trainer.dataset.num_users, specs["user"], specs["item"]):
            raise ConfigError(
                f"{given} was trained on other features or users; train a tower for {trainer.dataset.path}"
            )
        if not path.exists():
            _save(trainer, twin, path, found.report)
    return twin


def _with_codes(trainer: Trainer, twin: TwoTower, path: Path) -> dict[str, Any]:
    """Stage 2 from the twin's tokenizer; writes the checkpoint and gives its report."""
    if path.exists():
        return _of_this_data(trainer, path, "choose another folder").report
    torch.manual_seed(trainer.config.training.seed)
    config = fit_codebook(trainer.config, trainer.windows.num_positions, trainer.dataset.num_items)
    if config != trainer.config:
        trainer.log.write(stage="codes", codes=config.quantizer.codes, instead_of=trainer.config.quantizer.codes)
    model = build_model(config, trainer.dataset)
    assert isinstance(model, SparCode)
    model.to(trainer.device)
    if config.training.compile and not config.training.freeze_tokenizer:
        _compile(model)
    model.begin_from(twin)
    state, followed = train_codes(trainer, model)
    report = _report(state, "codes") | followed | fit_memories(trainer, model)
    model.quantizer.usage_report()
    _codes, boosts = assign_codes(model, sample_tokens(trainer, model), observe=True)
    used, perplexity = model.quantizer.usage_report()
    report |= {"codes_used": used, "perplexity": perplexity, "codes_per_history": float((boosts > 0).sum(1).mean())}
    trainer.log.keep(stage="done", **report)
    model.requires_grad_(True)
    _save(trainer, model.cpu(), path, report)
    return report


def fit_codebook(config: Config, positions: int, items: int) -> Config:
    """The configuration with N no larger than a quarter of the positions that the codebooks learn from, and than four an item:
    a small log cannot fill a large codebook, and a code that few histories share says nothing about new ones."""
    most = max(2, min(positions // 4, 4 * items))
    if config.quantizer.codes <= most:
        return config
    each = min(config.quantizer.codes_per_token, most)
    return replace(config, quantizer=replace(config.quantizer, codes=most, codes_per_token=each))


def _report(state: StageState, name: str) -> dict[str, Any]:
    validated = {f"{name}_validation": state.best_metric} if math.isfinite(state.best_metric) else {}
    return {
        f"{name}_epochs": state.epoch,
        f"{name}_best_epoch": state.best_epoch,
        **validated,
        f"{name}_seconds": round(state.seconds, 1),
    }
