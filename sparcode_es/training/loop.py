"""Training, from a configuration and a data folder to `model.pt`.

Stage `tower` trains the tokenizer and the item embeddings with a dot product: that is the two-tower twin, kept as
`two_tower.pt`. Stage `codes` begins there: k-means codebooks on the training tokens, then scorer, code vectors and bias with
the loss of Eq. 14. Last, the memories are filled and their weights chosen on validation.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from sparcode_es.baselines.two_tower import TwoTower
from sparcode_es.config import Config, StageConfig, load_config, to_toml
from sparcode_es.data.dataset import Cases, Dataset
from sparcode_es.errors import ConfigError, DataError, TrainingError
from sparcode_es.evaluation.ranking import rank_metrics
from sparcode_es.files import atomic_write, storage_errors
from sparcode_es.models.encode import assign_codes
from sparcode_es.models.quantizer import Assignment
from sparcode_es.models.sparcode import SparCode
from sparcode_es.training.batches import Batch, Windows
from sparcode_es.training.build import build_model
from sparcode_es.training.checkpoint import read_checkpoint, save_checkpoint
from sparcode_es.training.losses import NegativeSampler, sampled_softmax
from sparcode_es.training.memory import fit_memories
from sparcode_es.training.stage import Log, Stage, StageState, run_stage
from sparcode_es.training.validation import ScoreFunction, code_scores, tower_scores

POSITIONS_A_SEQUENCE = 8
"""Positions that stand for one sequence of `batch_size` where a batch is made of positions."""


@dataclass(frozen=True)
class TrainResult:
    """Where the checkpoints lie, and what validation said."""

    model_path: Path
    two_tower_path: Path | None
    report: dict[str, Any]


class Trainer:
    """One training into one folder. `train` runs it; what a killed run left there is taken up."""

    def __init__(self, config: Config, dataset: Dataset, out: Path, echo: Callable[[str], None], bars: bool) -> None:
        self.config, self.dataset, self.out, self.bars = config, dataset, out, bars
        self.device = pick_device(config)
        with storage_errors(out):
            out.mkdir(parents=True, exist_ok=True)
        self._claim()
        self.log = Log(out / "log.jsonl", echo)
        train = dataset.train_sequences()
        self.windows = Windows(train.offsets, train.items, train.users, config.tokenizer.max_length)
        if not len(self.windows):
            raise DataError(f"{dataset.path} has no training sequence of two events or more; nothing can be learned")
        counts = np.bincount(train.items, minlength=dataset.num_items)
        self.sampler = NegativeSampler(config.loss, torch.from_numpy(counts).float().to(self.device))
        self.validation = sample_cases(dataset.cases("valid"), config.training.validation_users, config.training.seed)
        if not len(self.validation.users):
            raise DataError(f"{dataset.path} has no validation case; split it, or import more events a user")

    def _claim(self) -> None:
        """Write the configuration, or refuse a folder that another one trained in."""
        path, text = self.out / "config.toml", to_toml(self.config)
        if path.exists() and load_config(path) != self.config:
            raise ConfigError(
                f"{self.out} holds a training with another configuration; choose another folder or remove it"
            )
        with atomic_write(path, "w") as file:
            file.write(text)

    # -- stage 1 --------------------------------------------------------------------------------------------------

    def train_tower(self, tower: TwoTower) -> StageState:
        """The two-tower twin, to convergence on validation."""
        settings = self.config.training.tower
        optimizer = make_optimizer(tower, settings)
        return run_stage(
            Stage(
                name="tower",
                config=settings,
                model=tower,
                optimizer=optimizer,
                steps=-(-len(self.windows) // settings.batch_size),
                run_epoch=lambda generator: self._tower_epoch(tower, optimizer, generator),
                validate=lambda: self.metrics(tower_scores(tower, self.validation)),
                metric=self.config.training.metric,
            ),
            self.config.training.seed,
            self.out / "tower.state",
            self.log,
            self._progress,
        )

    def _tower_epoch(
        self, tower: TwoTower, optimizer: torch.optim.Optimizer, generator: np.random.Generator
    ) -> Iterator[float]:
        for batch in self.windows.batches(self.config.training.tower.batch_size, generator):
            batch = batch.to(self.device)
            candidates = self.sampler.draw(batch.targets)
            with self._autocast():
                tokens = tower.tokens(batch.histories, batch.positions, batch.users)
                loss = sampled_softmax(tower.candidate_scores(tokens, candidates.items), candidates)
            yield self._step(tower, optimizer, loss, self.config.training.tower)

    # -- stage 2 --------------------------------------------------------------------------------------------------

    def train_codes(self, model: SparCode) -> StageState:
        """Codebooks, scorer and bias; with `freeze_tokenizer` on tokens that are encoded once."""
        settings, training = self.config.training.codes, self.config.training
        model.untie_items()
        torch.manual_seed(training.seed)
        tokens, targets = self.training_tokens(model)
        start_codes(model, tokens, self.dataset.num_items)
        if training.freeze_tokenizer:
            model.tokenizer.requires_grad_(False)
            epoch = self._frozen_positions(model)
            steps = -(-len(targets) // (settings.batch_size * POSITIONS_A_SEQUENCE))
        else:
            epoch, steps = self._live_positions(model), -(-len(self.windows) // settings.batch_size)
        optimizer = make_optimizer(model, settings)
        model.quantizer.usage_report()
        return run_stage(
            Stage(
                name="codes",
                config=settings,
                model=model,
                optimizer=optimizer,
                steps=steps,
                run_epoch=lambda generator: self._codes_epoch(model, optimizer, epoch(settings.batch_size, generator)),
                validate=lambda: self.metrics(code_scores(model, self.validation)),
                metric=training.metric,
                after_epoch=lambda: self._codebook_report(model),
            ),
            training.seed,
            self.out / "codes.state",
            self.log,
            self._progress,
        )

    def _codes_epoch(
        self, model: SparCode, optimizer: torch.optim.Optimizer, positions: Iterator[Positions]
    ) -> Iterator[float]:
        quantizer = self.config.quantizer
        for tokens, assignment, targets in positions:
            candidates = self.sampler.draw(targets)
            with self._autocast():
                scores = model.candidate_scores(tokens, assignment, candidates.items)
                loss = sampled_softmax(scores, candidates)
                if tokens.requires_grad:
                    commitment = model.quantizer.commitment(tokens, assignment)
                    relative = (loss / commitment.clamp(min=1e-8)).detach()
                    loss = loss + quantizer.commitment * relative * commitment  # Eq. 14 with a relative λ
            yield self._step(model, optimizer, loss, self.config.training.codes)
            if tokens.requires_grad:
                model.quantizer.update(tokens.detach())

    def _live_positions(self, model: SparCode) -> PositionSource:
        def epoch(batch_size: int, generator: np.random.Generator) -> Iterator[Positions]:
            for batch in self.windows.batches(batch_size, generator):
                batch = batch.to(self.device)
                tokens = model.tokens(batch.histories, batch.positions, batch.users)
                assignment = model.quantizer.assign(tokens)
                model.quantizer.observe(assignment)
                yield tokens, assignment, batch.targets

        return epoch

    def _frozen_positions(self, model: SparCode) -> PositionSource:
        """Positions of a tokenizer that no longer learns: encoded at the start of an epoch, drawn in random order.

        Dropout stays on, as when the tower learned: without it the training histories look better known than new ones.
        """

        def epoch(batch_size: int, generator: np.random.Generator) -> Iterator[Positions]:
            tokens, targets = self.training_tokens(model, dropout=True)
            codes, boosts = assign_codes(model, tokens)
            P, K, _ = tokens.shape
            index = torch.from_numpy(codes[..., 1:].astype(np.int64)).view(P, K, -1, codes.shape[-1] - 1)
            weights = torch.from_numpy(boosts).view(P, K, -1)
            for rows in torch.from_numpy(generator.permutation(P)).split(batch_size * POSITIONS_A_SEQUENCE):
                assignment = Assignment(index[rows].to(self.device), weights[rows].to(self.device))
                yield tokens[rows].to(self.device), assignment, targets[rows].to(self.device)

        return epoch

    def _codebook_report(self, model: SparCode) -> dict[str, float]:
        used, perplexity = model.quantizer.usage_report()
        least = self.config.quantizer.min_perplexity
        if perplexity < least:
            raise TrainingError(
                f"the codebook collapsed: perplexity is {perplexity:.1%} of N, below quantizer.min_perplexity = {least:.0%}. "
                "Lower quantizer.commitment or the learning rate, or train the tower first (training.tower.epochs)."
            )
        return {"codes_used": used, "perplexity": perplexity}

    # -- shared ---------------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def training_tokens(self, model: SparCode | TwoTower, dropout: bool = False) -> tuple[Tensor, Tensor]:
        """The tokens of every training position, [P, K, D], and the item that followed, int64 [P], on the CPU."""
        model.tokenizer.train(dropout)
        tokens, targets = [], []
        for batch in self.windows.batches(1024, None):
            targets.append(batch.targets)
            on_device: Batch = batch.to(self.device)
            tokens.append(model.tokens(on_device.histories, on_device.positions, on_device.users).float().cpu())
        return torch.cat(tokens), torch.cat(targets)

    def metrics(self, scores: ScoreFunction) -> dict[str, float]:
        """Validation metrics, every item ranked: recall and NDCG @10 and @50, and the metric that chooses."""
        found = rank_metrics(scores, self.validation, self.dataset.num_items, ks=(5, 10, 20, 50))["all"]
        names = ["recall@10", "ndcg@10", "recall@50", "ndcg@50", self.config.training.metric]
        return {name: float(found[name]) for name in dict.fromkeys(names)}

    def _step(self, model: nn.Module, optimizer: torch.optim.Optimizer, loss: Tensor, settings: StageConfig) -> float:
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        return float(loss.detach())

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        if self.config.training.amp and self.device.type == "cuda":
            return torch.autocast("cuda", dtype=torch.bfloat16)
        return contextlib.nullcontext()

    def _progress(self, steps: Iterator[float], total: int, title: str) -> Iterator[float]:
        return iter(tqdm(steps, total=total, desc=title, unit="step", leave=False, disable=None if self.bars else True))


Positions = tuple[Tensor, Assignment, Tensor]
"""Tokens [P, K, D], their assignment, and the targets int64 [P]."""

PositionSource = Callable[[int, np.random.Generator], Iterator[Positions]]
"""Batch size and generator → an epoch's positions."""


@torch.no_grad()
def start_codes(model: SparCode, tokens: Tensor, num_items: int, sample: int = 200_000) -> None:
    """k-means codebooks on training tokens [P, K, D], and b at the quantile that `initial_sparsity` names."""
    device = model.bias_parameter.device
    picks = torch.randperm(len(tokens))[:sample]
    model.quantizer.warm_start(tokens[picks].to(device))
    some = torch.randint(len(tokens), (256,))
    items = torch.randperm(num_items, device=device)[:2048]
    assignment = model.quantizer.assign(tokens[some].to(device))
    vectors = model.code_vectors(tokens[some].to(device), assignment).flatten(0, 2)
    scores = model.pair_scores(vectors[assignment.boosts.flatten() > 0], model.items(items))
    picked = scores.flatten()[torch.randint(scores.numel(), (1_000_000,), device=device)]
    model.bias_parameter.fill_(-torch.quantile(picked, model.config.scorer.initial_sparsity))


def make_optimizer(model: nn.Module, settings: StageConfig) -> torch.optim.Optimizer:
    """Adam; the embedding table has its own L2 factor (§4.1.3)."""
    embeddings = [p for n, p in model.named_parameters() if p.requires_grad and n.endswith("item_embedding.weight")]
    others = [p for n, p in model.named_parameters() if p.requires_grad and not n.endswith("item_embedding.weight")]
    groups = [
        {"params": others, "weight_decay": settings.weight_decay},
        {"params": embeddings, "weight_decay": settings.embedding_l2},
    ]
    return torch.optim.Adam([g for g in groups if g["params"]], lr=settings.learning_rate)


def pick_device(config: Config) -> torch.device:
    """CUDA where there is one, unless the configuration says otherwise."""
    wanted = config.training.device
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ConfigError("training.device is cuda, but torch sees no CUDA device; set it to cpu or auto")
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")


def sample_cases(cases: Cases, most: int, seed: int) -> Cases:
    """At most `most` cases, drawn with the seed."""
    if len(cases.users) <= most:
        return cases
    rows = np.sort(np.random.default_rng(seed).choice(len(cases.users), most, replace=False))
    return cases.take(rows)


def train(
    config: Config,
    dataset: Dataset,
    out: Path,
    *,
    tower: Path | None = None,
    echo: Callable[[str], None] = lambda line: None,
    bars: bool = True,
) -> TrainResult:
    """Train what `config.model` names into the folder `out`; run again after a kill, it goes on where it was.

    tower: a two-tower checkpoint to begin stage `codes` from, instead of training one. Raises `ConfigError`, `DataError`,
    `TrainingError`, `StorageError`.
    """
    if config.model == "popularity":
        raise ConfigError("popularity has nothing to train; `sparcode-es evaluate` prints its row beside the models'")
    trainer = Trainer(config, dataset, out, echo, bars)
    model_path, tower_path = out / "model.pt", out / "two_tower.pt"
    with storage_errors(out):
        twin = _twin(trainer, tower, tower_path)
        if config.model == "two_tower":
            return TrainResult(tower_path, tower_path, read_checkpoint(tower_path).report)
        model = _with_codes(trainer, twin, model_path)
    return TrainResult(model_path, tower_path, model)


def _twin(trainer: Trainer, given: Path | None, path: Path) -> TwoTower:
    """Stage 1's two-tower: given, already trained here, or trained now."""
    if given is not None or path.exists():
        twin = read_checkpoint(given or path).model
        if not isinstance(twin, TwoTower):
            raise ConfigError(f"{given} is not a two-tower checkpoint; give the two_tower.pt of a training")
        if twin.config.tokenizer != trainer.config.tokenizer or twin.num_items != trainer.dataset.num_items:
            raise ConfigError(
                f"{given or path} was trained with another tokenizer or on other items; train a tower for these"
            )
        return twin.to(trainer.device)
    torch.manual_seed(trainer.config.training.seed)
    twin = build_model(replace(trainer.config, model="two_tower"), trainer.dataset)
    assert isinstance(twin, TwoTower)
    twin.to(trainer.device)
    if trainer.config.training.compile:
        twin.tokenizer.encoder.compile()
    state = trainer.train_tower(twin)
    save_checkpoint(path, twin, trainer.dataset.item_ids, str(trainer.dataset.path.resolve()), _report(state, "tower"))
    return twin


def _with_codes(trainer: Trainer, twin: TwoTower, path: Path) -> dict[str, Any]:
    """Stage 2 from the twin's tokenizer; writes the checkpoint and gives its report."""
    if path.exists():
        return read_checkpoint(path).report
    torch.manual_seed(trainer.config.training.seed)
    model = build_model(trainer.config, trainer.dataset)
    assert isinstance(model, SparCode)
    model.to(trainer.device)
    model.tokenizer.load_state_dict(twin.tokenizer.state_dict())
    model.log_scale.data.copy_(twin.log_scale.data)
    state = trainer.train_codes(model)
    report = _report(state, "codes") | fit_memories(trainer, model)
    _codes, boosts = assign_codes(model, trainer.training_tokens(model)[0])
    used, perplexity = model.quantizer.usage_report()
    report |= {"codes_used": used, "perplexity": perplexity, "codes_per_history": float((boosts > 0).sum(1).mean())}
    trainer.log.write(stage="done", **report)
    model.requires_grad_(True)
    save_checkpoint(path, model.cpu(), trainer.dataset.item_ids, str(trainer.dataset.path.resolve()), report)
    return report


def _report(state: StageState, name: str) -> dict[str, Any]:
    return {
        f"{name}_epochs": state.epoch,
        f"{name}_best_epoch": state.best_epoch,
        f"{name}_validation": state.best_metric,
        f"{name}_seconds": round(state.seconds, 1),
    }
