"""The loss, the stages and the loop."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from sparcode_es.config.checks import require

EPOCHS, MOST_EPOCHS, ENOUGH_STEPS = 16, 400, 2800
"""What `StageConfig.epochs` means where it is None."""


@dataclass(frozen=True)
class LossConfig:
    """Sampled softmax (Eq. 12)."""

    negatives: Literal["uniform", "in_batch", "mixed", "all"] = "mixed"
    """Uniform samples shared by the batch; the batch's other positives, with logQ correction; both; or every item, the full
    softmax, for small catalogues."""
    num_negatives: int = 1024
    """Uniform samples a batch."""
    temperature: float = 0.05
    """Where the scale of the towers' dot product begins: 1 / temperature; it is learned from there."""

    def __post_init__(self) -> None:
        require(self.num_negatives >= 1, "loss.num_negatives must be at least 1")
        require(self.temperature > 0, "loss.temperature must be positive")


@dataclass(frozen=True)
class StageConfig:
    """One stage of training: the towers alone, then the codes and the scorer."""

    epochs: int | None = None
    """At most this many; 0 leaves the stage out. None: 16, or on a small log as many as make 2,800 steps, up to 400."""
    patience: int = 10
    """Stop after this many evaluations without a better validation metric."""
    stop_after: int | None = None
    """Keep the weights after this epoch, whatever validation says; None: validation chooses the epoch."""
    evaluate_every: int = 2
    """Epochs between evaluations."""
    batch_size: int = 128
    """Sequences (or windows of a long one) a step."""
    learning_rate: float = 1e-3
    decay_from: float = 0.5
    """After this share of `epochs` the learning rate falls from epoch to epoch, in a line that would reach 0 after the last;
    1 keeps it constant."""
    weight_decay: float = 0.0
    """Decoupled (AdamW): so much times the learning rate of each weight is taken away a step."""
    embedding_l2: float = 0.0
    """The same for the tokenizer's item embeddings, where the stage trains them: stage 2 does without `freeze_tokenizer`."""

    def __post_init__(self) -> None:
        require((self.epochs or 0) >= 0, f"a stage's epochs must not be negative, as {self.epochs} is")
        for name in ("patience", "evaluate_every", "batch_size"):
            require(getattr(self, name) >= 1, f"a stage's {name} must be at least 1, not {getattr(self, name)}")
        require(self.learning_rate > 0, f"a stage's learning_rate must be positive, not {self.learning_rate}")
        require(
            self.weight_decay >= 0 and self.embedding_l2 >= 0,
            "a stage's weight_decay and embedding_l2 must not be negative",
        )
        require(0 <= self.decay_from <= 1, f"a stage's decay_from must lie in [0, 1], not {self.decay_from}")
        most = math.inf if self.epochs is None else self.epochs
        require(
            0 <= (self.stop_after or 0) <= most,
            f"a stage's stop_after must lie in 0…epochs ({self.epochs}), not {self.stop_after}",
        )

    def steps(self, examples: int) -> int:
        """Steps an epoch, for so many sequences (or windows)."""
        return -(-examples // self.batch_size)

    def epochs_for(self, steps: int) -> int:
        """`epochs` as a number, for a log that makes so many steps an epoch."""
        if self.epochs is not None:
            return self.epochs
        return max(EPOCHS, min(MOST_EPOCHS, -(-ENOUGH_STEPS // max(1, steps))), self.stop_after or 0)


@dataclass(frozen=True)
class CodesStage(StageConfig):
    """SparCode after the tower."""

    epochs: int = 6
    patience: int = 2
    evaluate_every: int = 1
    decay_from: float = 0.0
    batch_size: int = 256
    learning_rate: float = 1e-3
    positions: int = 250_000
    """With `freeze_tokenizer`, over histories: an epoch learns from at most so many of their positions, drawn anew each epoch."""
    learned_share: float | None = None
    """With `freeze_tokenizer`: how far the stage's learning is followed, from 0, the weights that it began with, to 1, those of
    its best epoch; None: validation chooses, by the metric's mean over both views."""

    def __post_init__(self) -> None:
        super().__post_init__()
        share = self.learned_share
        require(share is None or 0 <= share <= 1, f"training.codes.learned_share must lie in [0, 1], not {share}")
        require(self.positions >= 1, f"training.codes.positions must be at least 1, not {self.positions}")


@dataclass(frozen=True)
class TrainingConfig:
    """The loop."""

    tower: StageConfig = field(default_factory=StageConfig)
    """Stage 1: tokenizer and item embeddings as a two-tower model, to convergence."""
    codes: CodesStage = field(default_factory=CodesStage)
    """Stage 2: codebooks (k-means start), scorer and bias."""
    freeze_tokenizer: bool = True
    """Keep the tokenizer as stage 1 left it, and the codebooks as k-means set them, so that stage 2 encodes every history
    once an epoch. false: tokenizer and codebooks go on learning (Eq. 13-14, EMA, revival of dead codes)."""
    items_per_user: int = 50
    """With tokenizer.source = 'features': an epoch trains on at most this many items of a user, drawn anew each epoch."""
    with_validation: bool = False
    """Train on the validation events too. Nothing can be chosen then: every stage needs `stop_after`, the codes `learned_share`,
    and memories their weights, the ridge weights' share and the repeat codes'. `train --refit` sets all of it from a training
    that validation has seen."""
    with_test: bool = False
    """With `with_validation`: the test events too, after which nothing here can say what the model is worth."""
    metric: str = "ndcg@50"
    """The validation metric that chooses the best epoch and weights, all items ranked (by its mean over both views the shares:
    of what the codes learned, and of ridge weights)."""
    validation_users: int = 10_000
    """At most this many validation users are ranked by each evaluation, drawn once with the seed."""
    seed: int = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    amp: bool = False
    """bfloat16 autocast; an error where there is no CUDA device."""
    fast_matmul: bool = True
    """While training, float32 matrix products may be rounded to bfloat16 (CPU) or TF32 (CUDA) where that is faster; what is
    evaluated and indexed is not."""
    compile: bool = False
    """torch.compile the tokenizer's encoder while it learns, of the systems that have one."""

    def __post_init__(self) -> None:
        require(self.items_per_user >= 1, "training.items_per_user must be at least 1")
        require(
            self.freeze_tokenizer or self.codes.learned_share in (None, 1.0),
            "training.codes.learned_share needs training.freeze_tokenizer",
        )
        require(self.with_validation or not self.with_test, "training.with_test needs training.with_validation")
        require(0 <= self.seed < 2**63, f"training.seed must lie in 0…2⁶³ - 1, not {self.seed}")
        name, _, k = self.metric.partition("@")
        require(
            name in {"recall", "ndcg", "precision"} and k in {"5", "10", "20", "50"},
            f"training.metric must be recall@k, ndcg@k or precision@k with k of 5, 10, 20, 50, not {self.metric!r}",
        )
        require(
            not (self.amp and self.device == "cpu"),
            "training.amp needs CUDA: set training.device to cuda or amp to false",
        )

    @property
    def learned_splits(self) -> set[str]:
        """The held-out splits that are learned from: `valid`, `test`."""
        splits = {"valid": self.with_validation, "test": self.with_test}
        return {name for name, learned in splits.items() if learned}
