"""One stage of training: epochs, validation, the best weights kept, and a state on disk from which a killed run goes on.

Every epoch begins by seeding torch and numpy from (seed, stage, epoch), and its order of data from the same. The state
after an epoch is therefore the whole state: a run resumed from it ends with the weights of an unbroken one (on a GPU but for
the order in which some sums are added up).
"""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sparcode_es.config import StageConfig
from sparcode_es.errors import CheckpointError, ConfigError, TrainingError
from sparcode_es.files import parse_json, storage_errors
from sparcode_es.training.checkpoint import FORMAT, load_tensors, save_tensors

STAGES = ("tower", "codes", "model")


Listener = Callable[[Mapping[str, Any]], None]
"""Is told every record of a training's log."""


class Log:
    """The training's log: one JSON object a line, appended and flushed."""

    def __init__(self, path: Path, echo: Callable[[str], None], listen: Listener | None = None) -> None:
        self.path, self.echo, self.listen = path, echo, listen

    def write(self, **record: Any) -> None:
        """Append one record, show it as one line, and tell the listener."""
        self.keep(**record)
        self.echo("  ".join(f"{key} {shown(key, value)}" for key, value in record.items()))

    def keep(self, **record: Any) -> None:
        """Append one record and tell the listener, without showing it."""
        with storage_errors(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        if self.listen is not None:
            self.listen(record)


SHARES = ("codes_used", "perplexity")
"""What of a log is a share of the codebook's N codes: of codes used, and of how many alike ones they are worth."""


def shown(key: str, value: Any, digits: str = ".4g") -> str:
    """A value of the log or of the report as text for people; shares in per cent."""
    if key in SHARES:
        return f"{100 * value:.4g} %"
    return f"{value:{digits}}" if isinstance(value, float) else str(value)


@dataclass
class StageState:
    """Where a stage stands."""

    epoch: int = 0
    best_metric: float = -math.inf
    best_epoch: int = 0
    without_gain: int = 0
    seconds: float = 0.0
    finished: bool = False
    best_weights: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Stage:
    """What differs between stages.

    run_epoch(generator) yields the losses of its steps; validate() gives the metrics of which `metric` chooses; after_epoch()
    gives what else is logged, and may raise `TrainingError`.
    """

    name: str
    config: StageConfig
    model: nn.Module
    optimizer: torch.optim.Optimizer
    steps: int
    run_epoch: Callable[[np.random.Generator], Iterator[float]]
    validate: Callable[[], dict[str, float]]
    metric: str
    after_epoch: Callable[[], dict[str, float]] = dict
    judge_start: bool = False
    """Whether the weights that the stage begins with may turn out to be the best, as epoch 0."""
    events: str = ""
    """`Dataset.events_hash` of what is learned from: a state of other events is not taken up."""


def seed_epoch(seed: int, stage: str, epoch: int) -> np.random.Generator:
    """Seed torch for an epoch, and give the generator of its data order."""
    words = np.random.SeedSequence([seed, STAGES.index(stage), epoch]).generate_state(2)
    torch.manual_seed(int(words[0]))
    return np.random.default_rng(int(words[1]))


def learning_rate(config: StageConfig, epoch: int, epochs: int) -> float:
    """The learning rate of an epoch, counted from 1, of at most `epochs`."""
    return config.learning_rate * min(1.0, (epochs - epoch + 1) / max(1.0, epochs - config.decay_from * epochs))


def run_stage(stage: Stage, seed: int, state_path: Path, log: Log, progress: Progress) -> StageState:
    """Train until the validation metric has not risen for `patience` evaluations, and leave the best weights in the model;
    or train for `stop_after` epochs, and leave the last ones."""
    state = _resume(stage, state_path)
    fixed, most = stage.config.stop_after, stage.config.epochs_for(stage.steps)
    record: dict[str, Any]
    log.write(stage=stage.name, epochs_at_most=most if fixed is None else fixed, steps_an_epoch=stage.steps)
    if state.epoch:
        log.write(stage=stage.name, resumed_after_epoch=state.epoch)
    elif stage.judge_start and most and fixed is None:
        stage.model.eval()
        record = {"stage": stage.name, "epoch": 0, **stage.validate()}
        _judge(stage, state, record[stage.metric])
        log.write(**record)
    while not state.finished and state.epoch < (most if fixed is None else fixed):
        began = time.perf_counter()
        state.epoch += 1
        generator = seed_epoch(seed, stage.name, state.epoch)
        rate = learning_rate(stage.config, state.epoch, most)
        for group in stage.optimizer.param_groups:
            group["lr"] = rate
        stage.model.train()
        losses = list(progress(stage.run_epoch(generator), stage.steps, f"{stage.name} epoch {state.epoch}"))
        loss = float(np.mean(losses)) if losses else 0.0
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss is {loss} in epoch {state.epoch} of stage {stage.name}; lower the learning rate or check the features"
            )
        record = {"stage": stage.name, "epoch": state.epoch, "loss": loss, **stage.after_epoch()}
        if fixed is not None:
            state.best_epoch = state.epoch
        elif state.epoch % stage.config.evaluate_every == 0 or state.epoch == most:
            stage.model.eval()
            record |= stage.validate()
            _judge(stage, state, record[stage.metric])
        state.seconds += time.perf_counter() - began
        log.write(**record, seconds=round(time.perf_counter() - began, 2))
        _save(stage, state, state_path)
    if state.best_weights:
        stage.model.load_state_dict(state.best_weights)
    stage.model.eval()
    return state


Progress = Callable[[Iterator[float], int, str], Iterator[float]]
"""Wraps an iterator of `total` steps with a progress bar of this title."""


def _judge(stage: Stage, state: StageState, metric: float) -> None:
    if metric > state.best_metric:
        state.best_metric, state.best_epoch, state.without_gain = metric, state.epoch, 0
        state.best_weights = copy.deepcopy(stage.model.state_dict())
    else:
        state.without_gain += 1
        state.finished = state.without_gain >= stage.config.patience


def _save(stage: Stage, state: StageState, path: Path) -> None:
    numbers = {key: value for key, value in vars(state).items() if key != "best_weights"}
    save_tensors(
        path,
        {
            "format": FORMAT,
            "stage": stage.name,
            "events": stage.events,
            "state": json.dumps(numbers),
            "model": stage.model.state_dict(),
            "optimizer": stage.optimizer.state_dict(),
            "best_weights": state.best_weights,
        },
    )


def _resume(stage: Stage, path: Path) -> StageState:
    """The saved state of this stage, put into the model and the optimizer; a fresh one when there is none."""
    if not path.exists():
        return StageState()
    content = load_tensors(path)
    try:
        if content["events"] != stage.events:
            raise ConfigError(f"{path} belongs to a training on other events; remove it or train into another folder")
        stage.model.load_state_dict(content["model"])
        stage.optimizer.load_state_dict(content["optimizer"])
        return StageState(**parse_json(content["state"]), best_weights=content["best_weights"])
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{path} belongs to another configuration; remove it or train into another folder"
        ) from error
