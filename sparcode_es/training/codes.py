"""Stage 2: codebooks by k-means on the training tokens, then scorer, code vectors and bias with the loss of Eq. 14."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sparcode_es.errors import TrainingError
from sparcode_es.models.batches import Batch
from sparcode_es.models.encode import assign_codes
from sparcode_es.models.quantizer import Assignment
from sparcode_es.models.sparcode import SparCode
from sparcode_es.training.share import follow_learning, learned_weights
from sparcode_es.training.stage import Stage, StageState
from sparcode_es.training.trainer import Trainer, make_optimizer

POSITIONS_A_SEQUENCE = 8
"""Positions that stand for one sequence of `batch_size` where a batch is made of positions."""
AT_ONCE = 1024
"""Windows that are encoded at once where nothing is learned."""
SAMPLE = 200_000
"""Training positions that the codebooks begin from, and that tell how codes are used in the end."""

Positions = tuple["Tensor | None", Assignment, Tensor, "Tensor | None"]
"""Tokens [T, K, D] where the tokenizer learns, their assignment, the targets int64 [P], and rows as in `Batch`."""

PositionSource = Callable[[int, np.random.Generator], Iterator[Positions]]
"""Batch size and generator → an epoch's positions."""


def train_codes(trainer: Trainer, model: SparCode) -> tuple[StageState, dict[str, float]]:
    """Codebooks, scorer and bias; with `freeze_tokenizer` on tokens that are encoded once an epoch, so many at most. Gives where
    the stage ended, and what of its learning is followed, for the report."""
    training = trainer.config.training
    settings = training.codes
    torch.manual_seed(training.seed)
    start_codes(model, sample_tokens(trainer, model), trainer.dataset.num_items)
    model.tokenizer.requires_grad_(not training.freeze_tokenizer)
    # Where no history is read, a batch has each user once, and nothing is gained by encoding them ahead.
    if training.freeze_tokenizer and trainer.config.tokenizer.source == "history":
        source = _frozen_positions(trainer, model)
        positions = min(trainer.windows.num_positions, settings.positions)
        steps = -(-positions // (settings.batch_size * POSITIONS_A_SEQUENCE))
    else:
        source, steps = _live_positions(trainer, model), settings.steps(len(trainer.windows))
    # Where the tokenizer learns, its codebooks move as well, and belong to the end alone: all of it is followed.
    begun = learned_weights(model) if training.freeze_tokenizer else None
    optimizer = make_optimizer(model, settings)
    model.quantizer.usage_report()

    def epoch(generator: np.random.Generator) -> Iterator[float]:
        for tokens, assignment, targets, rows in source(settings.batch_size, generator):
            candidates = trainer.sampler.draw(targets)
            with trainer.autocast():
                loss = model.position_loss(tokens, assignment, candidates, rows)
            yield trainer.step(model, optimizer, loss)
            if tokens is not None:
                model.quantizer.update(tokens.detach())

    state = trainer.run(
        Stage(
            name="codes",
            config=settings,
            model=model,
            optimizer=optimizer,
            steps=steps,
            run_epoch=epoch,
            validate=lambda: trainer.metrics(model.case_scores(trainer.validation)),
            metric=training.metric,
            after_epoch=lambda: _codebook_report(model),
        )
    )
    return state, {} if begun is None else follow_learning(trainer, model, begun)


def _live_positions(trainer: Trainer, model: SparCode) -> PositionSource:
    def epoch(batch_size: int, generator: np.random.Generator) -> Iterator[Positions]:
        for batch in trainer.windows.batches(batch_size, generator):
            batch = batch.to(trainer.device)
            with trainer.autocast():
                tokens = model.tokens(batch.histories, batch.positions, batch.users).float()
            assignment = model.quantizer.assign(tokens)
            model.quantizer.observe(assignment)
            yield tokens if tokens.requires_grad else None, assignment, batch.targets, batch.rows

    return epoch


def _frozen_positions(trainer: Trainer, model: SparCode) -> PositionSource:
    """Positions of a tokenizer that no longer learns: encoded at the start of an epoch, drawn in random order. Of a log that has
    more than `training.codes.positions`, those of windows that are drawn for each epoch.

    Dropout stays on, as when the tower learned: without it the training histories look better known than new ones.
    """

    most = trainer.config.training.codes.positions

    def epoch(batch_size: int, generator: np.random.Generator) -> Iterator[Positions]:
        windows = trainer.windows.drawn(most, generator)
        coded = code_positions(trainer, model, windows, dropout=True, observe=True)
        P, K = len(coded.codes), model.config.tokenizer.tokens
        index = torch.from_numpy(coded.codes[..., 1:].astype(np.int32)).view(P, K, -1, coded.codes.shape[-1] - 1)
        weights = torch.from_numpy(coded.boosts).view(P, K, -1)
        targets = torch.from_numpy(coded.targets)
        for rows in torch.from_numpy(generator.permutation(P)[:most]).split(batch_size * POSITIONS_A_SEQUENCE):
            assignment = Assignment(index[rows].to(trainer.device).long(), weights[rows].to(trainer.device))
            yield None, assignment, targets[rows].to(trainer.device), None

    return epoch


def _codebook_report(model: SparCode) -> dict[str, float]:
    used, perplexity = model.quantizer.usage_report()
    least = model.config.quantizer.min_perplexity
    if perplexity < least:
        raise TrainingError(
            f"the codebook collapsed: perplexity is {perplexity:.1%} of N, below quantizer.min_perplexity = {least:.0%}. "
            "Use fewer codes, or train the tower longer (training.tower.epochs)"
            + (
                "."
                if model.config.training.freeze_tokenizer
                else ", or lower quantizer.commitment or the learning rate."
            )
        )
    return {"codes_used": used, "perplexity": perplexity}


@dataclass(frozen=True)
class CodedPositions:
    """The codes of training positions, and what followed each.

    codes uint32 [T, K·R, 1 + M] and boosts float32 [T, K·R] as of `assign_codes`; for each item that followed, the row of its
    position and its number, int64 [P] each. Where each position is followed by one item, P = T and rows are 0, 1, 2, …
    """

    codes: np.ndarray
    boosts: np.ndarray
    rows: np.ndarray
    targets: np.ndarray


@torch.inference_mode()
def code_positions(
    trainer: Trainer, model: SparCode, windows: np.ndarray | None = None, dropout: bool = False, observe: bool = False
) -> CodedPositions:
    """Encode every training position, a batch at a time: codes take an eighth of what the tokens of a long log would.

    windows: which alone, int64 [n]; dropout: encode as when the tokenizer learned; observe: count the codes for usage and
    perplexity.
    """
    model.tokenizer.train(dropout)
    codes, boosts, rows, targets = [], [], [], []
    done = 0
    some = np.arange(len(trainer.windows)) if windows is None else windows
    for batch in trainer.windows.collated(some, AT_ONCE):
        found = assign_codes(model, _encoded(trainer, model, batch), observe)
        codes.append(found[0])
        boosts.append(found[1])
        targets.append(batch.targets)
        rows.append(batch.spread(torch.arange(done, done + len(batch.positions))))
        done += len(batch.positions)
    followed = (torch.cat(each).cpu().numpy() for each in (rows, targets))
    return CodedPositions(np.concatenate(codes), np.concatenate(boosts), *followed)


@torch.inference_mode()
def sample_tokens(trainer: Trainer, model: SparCode, most: int = SAMPLE) -> Tensor:
    """The tokens of every training position, [T, K, D], on the CPU; where there are more than `most`, so many of them, of windows
    drawn at random."""
    model.tokenizer.eval()
    drawn = trainer.windows.drawn(most, np.random.default_rng(trainer.config.training.seed))
    return torch.cat([_encoded(trainer, model, batch) for batch in trainer.windows.collated(drawn, AT_ONCE)])[:most]


def _encoded(trainer: Trainer, model: SparCode, batch: Batch) -> Tensor:
    """The tokens of a batch's positions, [T, K, D], on the CPU."""
    batch = batch.to(trainer.device)
    return model.tokens(batch.histories, batch.positions, batch.users).float().cpu()


@torch.no_grad()
def start_codes(model: SparCode, tokens: Tensor, num_items: int) -> None:
    """k-means codebooks on training tokens [P, K, D], and b at the quantile that `initial_sparsity` names."""
    device = model.bias_parameter.device
    model.quantizer.warm_start(tokens[torch.randperm(len(tokens))].to(device))
    some = torch.randint(len(tokens), (256,))
    items = torch.randperm(num_items, device=device)[:2048]
    assignment = model.quantizer.assign(tokens[some].to(device))
    vectors = model.code_vectors(tokens[some].to(device), assignment).flatten(0, 2)
    scores = model.pair_scores(vectors[assignment.boosts.flatten() > 0], model.items(items))
    picked = scores.flatten()[torch.randint(scores.numel(), (1_000_000,), device=device)]
    model.bias_parameter.fill_(-torch.quantile(picked, model.config.scorer.initial_sparsity))
