"""What every training shares: batches, negatives, validation cases, the optimizer's step, the log, a stage's run."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from sparcode_es.config import Config, StageConfig, load_config, read_by_model, to_toml
from sparcode_es.data.dataset import Cases, Dataset, ScoreFunction, Sequences
from sparcode_es.errors import ConfigError, DataError, StorageError
from sparcode_es.evaluation.metrics import convention_of
from sparcode_es.evaluation.ranking import VIEWS, rank_metrics
from sparcode_es.files import atomic_write, storage_errors
from sparcode_es.models.base import RankingModel
from sparcode_es.models.batches import Pairs, Windows
from sparcode_es.models.losses import NegativeSampler
from sparcode_es.training.speed import fast_matmul, keep_freed_memory
from sparcode_es.training.stage import Listener, Log, Stage, StageState, run_stage

OF_A_TRAINING = re.compile(
    r"log\.jsonl|(model|two_tower)\.pt|(tower|codes|model)\.state|events\.out\.tfevents\..*|\..*\.tmp"
    r"|.*\.(log|out|err|txt)"
)
"""The files that a training may have written before there is a config.toml, and after somebody removed it, and those that its
output is sent to."""
BETAS = (0.9, 0.98)
"""Adam's, as SASRec's authors and the first Transformer have them."""


class Trainer:
    """One training into one folder. `train` runs it; what a killed run left there is taken up."""

    def __init__(
        self,
        config: Config,
        dataset: Dataset,
        out: Path,
        echo: Callable[[str], None],
        bars: bool,
        listen: Listener | None = None,
    ) -> None:
        self.dataset, self.out, self.bars = dataset, out, bars
        keep_freed_memory()
        self.device = pick_device(config.training.device)
        if config.training.amp and self.device.type != "cuda":
            raise ConfigError("training.amp needs a CUDA device and torch sees none; set training.amp = false")
        with storage_errors(out):
            out.mkdir(parents=True, exist_ok=True)
        train = self.sequences = dataset.train_sequences(config.training.with_validation, config.training.with_test)
        self.windows = examples(config, train)
        if not len(self.windows):
            raise DataError(f"{dataset.path} has no training sequence of two events or more; nothing can be learned")
        counts = self.windows.target_counts(dataset.num_items)
        self.sampler = NegativeSampler(config.loss, torch.from_numpy(counts).float().to(self.device))
        self.validation = sample_cases(dataset.cases("valid"), config.training.validation_users, config.training.seed)
        if not len(self.validation.users):
            raise DataError(
                f"{dataset.path} has no validation case; import it with another --split (users can do with two events a user), "
                "or more events"
            )
        self.config = self._claim(config)
        self.log = Log(out / "log.jsonl", echo, listen)

    def _claim(self, config: Config) -> Config:
        """Write the configuration and give it with its epochs as a number, the one that the folder has where it has one; or
        refuse a folder that another configuration trained in. One in which no epoch ended is free."""
        path = self.out / "config.toml"
        begun = any(file.suffix in (".state", ".pt") for file in self.out.iterdir())
        found = _configuration_in(self.out)
        held = found if begun else None
        chosen = with_epochs(config, lambda: len(self.windows), held)
        if held is not None and read_by_model(held) != read_by_model(chosen):
            raise ConfigError(
                f"{self.out} holds a training with another configuration; choose another folder or remove it"
            )
        with atomic_write(path, "w") as file:
            file.write(to_toml(chosen))
        return chosen

    def train_whole(self, model: RankingModel, name: str) -> StageState:
        """A model from batches of histories, by its own loss, to convergence on validation."""
        settings = model.stage_config
        optimizer = make_optimizer(model, settings)

        def epoch(generator: np.random.Generator) -> Iterator[float]:
            for batch in self.windows.batches(settings.batch_size, generator):
                with self.autocast():
                    loss = model.loss(batch.to(self.device), self.sampler)
                yield self.step(model, optimizer, loss)

        return self.run(
            Stage(
                name=name,
                config=settings,
                model=model,
                optimizer=optimizer,
                steps=settings.steps(len(self.windows)),
                run_epoch=epoch,
                validate=lambda: self.metrics(model.case_scores(self.validation)),
                metric=self.config.training.metric,
                after_epoch=model.after_epoch,
                judge_start=model.begins_from_tower,
            )
        )

    def run(self, stage: Stage) -> StageState:
        """Run a stage; its state lies in this training's folder."""
        path = self.out / f"{stage.name}.state"
        if stage.config.stop_after is None:
            self.must_choose(f"the epoch of stage {stage.name}")

        def epoch(generator: np.random.Generator) -> Iterator[float]:
            with fast_matmul(self.config.training.fast_matmul):
                yield from stage.run_epoch(generator)

        bound = replace(stage, run_epoch=epoch, events=self.dataset.events_hash)
        return run_stage(bound, self.config.training.seed, path, self.log, self._progress)

    def metrics(self, scores: ScoreFunction) -> dict[str, float]:
        """Validation metrics, every item ranked: recall and NDCG @10 and @50, and the metric that chooses."""
        self.must_choose("the weight of a memory")
        found = validation_metrics(scores, self.validation, self.dataset)
        names = ["recall@10", "ndcg@10", "recall@50", "ndcg@50", self.config.training.metric]
        return {name: float(found[name]) for name in dict.fromkeys(names)}

    def best_share(
        self, stage: str, shares: Sequence[float], scores_with: Callable[[float], ScoreFunction]
    ) -> tuple[float, float]:
        """The share whose scores are best on validation in the mean of both views, and the metric there with every item ranked;
        logs all that were tried."""
        metric = self.config.training.metric
        ranked, means = {}, {}
        for share in shares:
            by_view = _validated(scores_with(share), self.validation, self.dataset, VIEWS)
            ranked[share] = float(by_view["all"][metric])
            means[share] = sum(float(found[metric]) for found in by_view.values()) / len(by_view)
        best = max(means, key=lambda share: means[share])
        tried = {f"share {share}": mean for share, mean in means.items()}
        self.log.write(stage=stage, **tried, kept=best, **{metric: ranked[best]})
        return best, ranked[best]

    def must_choose(self, what: str) -> None:
        """Raise `ConfigError` where there is no validation that could choose."""
        if self.config.training.with_validation:
            raise ConfigError(
                f"training.with_validation leaves nothing to choose {what} on; `train --refit` takes it from an earlier training"
            )

    def step(self, model: nn.Module, optimizer: torch.optim.Optimizer, loss: Tensor) -> float:
        """One step of the optimizer; the loss as a number."""
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        return float(loss.detach())

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """bfloat16 where `training.amp` and CUDA say so."""
        if self.config.training.amp:
            return torch.autocast("cuda", dtype=torch.bfloat16)
        return contextlib.nullcontext()

    def _progress(self, steps: Iterator[float], total: int, title: str) -> Iterator[float]:
        return iter(tqdm(steps, total=total, desc=title, unit="step", leave=False, disable=None if self.bars else True))


def _configuration_in(folder: Path) -> Config | None:
    """The configuration of the training in a folder; None for a folder that is free for one. Raises `StorageError` for what is
    neither: files of something else, and no training's configuration beside them."""
    path, advice = folder / "config.toml", "give another folder as --out, or a new one"
    if path.exists():
        try:
            return load_config(path)
        except ConfigError as error:
            raise StorageError(f"{folder} holds no training of this release ({error}); {advice}") from error
    foreign = sorted(
        file.name for file in folder.iterdir() if file.is_file() and not OF_A_TRAINING.fullmatch(file.name)
    )
    if foreign:
        raise StorageError(f"{folder} holds {foreign[0]}, which is no file of a training; {advice}")
    return None


def examples(config: Config, train: Sequences) -> Windows | Pairs:
    """Windows of the histories, or, where no history is read, users with their items."""
    if config.tokenizer.source == "features":
        return Pairs(train.offsets, train.items, train.users, config.training.items_per_user)
    return Windows(train.offsets, train.items, train.users, config.tokenizer.max_length)


def with_epochs(config: Config, windows: Callable[[], int], held: Config | None = None) -> Config:
    """The configuration with the tower's epochs as a number: its own, that of `held`, an earlier training, or one for so many
    windows, which are counted only then."""
    tower = config.training.tower
    most = tower.epochs if tower.epochs is not None or held is None else held.training.tower.epochs
    if most is None:
        most = tower.epochs_for(tower.steps(windows()))
    return replace(config, training=replace(config.training, tower=replace(tower, epochs=most)))


def make_optimizer(model: nn.Module, settings: StageConfig) -> torch.optim.Optimizer:
    """Adam, with decoupled decay (AdamW, Loshchilov and Hutter 2019); the embedding table has a factor of its own (§4.1.3).

    As a term of the loss it would be all that items meet which a batch does not draw, and Adam makes a whole step of
    whatever is all: they would shrink to nothing, the sooner the larger the catalogue.
    """
    embeddings = [p for n, p in model.named_parameters() if p.requires_grad and n.endswith("item_embedding.weight")]
    others = [p for n, p in model.named_parameters() if p.requires_grad and not n.endswith("item_embedding.weight")]
    groups = [
        {"params": others, "weight_decay": settings.weight_decay},
        {"params": embeddings, "weight_decay": settings.embedding_l2},
    ]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=settings.learning_rate, betas=BETAS, fused=True)


def pick_device(wanted: str, named: str = "training.device") -> torch.device:
    """`cpu`, `cuda`, or for `auto` CUDA where there is one. Raises `ConfigError` where `named` wants CUDA and there is none."""
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"{named} is cuda, but torch sees no CUDA device; set it to cpu")
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")


def validation_metrics(scores: ScoreFunction, cases: Cases, dataset: Dataset) -> dict[str, float]:
    """What may choose: the metrics of `training.metric`, every item ranked, by the data folder's convention."""
    return _validated(scores, cases, dataset, ("all",))["all"]


def _validated(
    scores: ScoreFunction, cases: Cases, dataset: Dataset, views: Sequence[str]
) -> dict[str, dict[str, float]]:
    return rank_metrics(
        scores,
        cases,
        dataset.num_items,
        (5, 10, 20, 50),
        convention=convention_of(dataset),
        views=views,
        coverage=False,
    )


def sample_cases(cases: Cases, most: int, seed: int) -> Cases:
    """At most `most` cases, drawn with the seed."""
    if len(cases.users) <= most:
        return cases
    rows = np.sort(np.random.default_rng(seed).choice(len(cases.users), most, replace=False))
    return cases.take(rows)
