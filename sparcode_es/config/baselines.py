"""The systems that SparCode is compared with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from sparcode_es.config.checks import require
from sparcode_es.config.training import StageConfig


@dataclass(frozen=True)
class LatentsConfig:
    """The pre-trained embeddings of users and items (latents) that DropoutNet and DeezerNet learn to predict."""

    source: Literal["auto", "features", "svd"] = "auto"
    """`features`: the user feature of role `target` and the item vector feature of its size. `svd`: a truncated SVD of the
    training interactions (PureSVD, Cremonesi et al. 2010); a user's latent is the direction of the mean latent of their
    history. `auto`: the features where the data folder has both, else the SVD."""
    dim: int = 64
    """The size of the SVD's latents."""

    def __post_init__(self) -> None:
        require(self.dim >= 1, f"latents.dim must be at least 1, not {self.dim}")


@dataclass(frozen=True)
class DropoutNetConfig:
    """DropoutNet (Volkovs et al. 2017). Its latents are those of `latents`; the defaults are the published sizes."""

    hidden: tuple[int, ...] = (800, 400)
    """Hidden units of the user net and of the item net, tanh after batch normalisation."""
    rank: int = 200
    """The length of the two nets' outputs, whose dot product is the score."""
    dropout: float = 0.5
    """The share of users, and of items, whose latents are zeros in a training step, where that side has features."""

    def __post_init__(self) -> None:
        require(all(h > 0 for h in self.hidden), "dropoutnet.hidden must be positive numbers")
        require(self.rank >= 1, f"dropoutnet.rank must be at least 1, not {self.rank}")
        require(0 <= self.dropout <= 1, f"dropoutnet.dropout must lie in [0, 1], not {self.dropout}")


@dataclass(frozen=True)
class DeezerNetConfig:
    """DeezerNet (Briand et al. 2021). It regresses on the users of `latents`; the defaults are the published sizes."""

    form: Literal["full", "semi"] = "full"
    """`full`: items by the dot product of predicted user and item latents. `semi`: the most popular items of the segment of
    warm users whose centre is nearest to the prediction. One training gives both; this is the one that validation and
    `evaluate` rank with."""
    hidden: tuple[int, ...] = (400, 300, 200)
    """Hidden units, batch normalisation after ReLU."""
    history: bool | None = None
    """Whether the mean latent of the history is an input beside the user features; None means: where latents come from the
    SVD and tokenizer.source is history. Deezer's own user features hold the first day's history already."""
    segments: int = 1000
    """Clusters of warm users' latents by k-means."""
    segment_items: int = 1000
    """The most popular items of a segment that are kept; others are not retrieved."""
    kmeans_iterations: int = 20

    def __post_init__(self) -> None:
        require(all(h > 0 for h in self.hidden), "deezernet.hidden must be positive numbers")
        counts = (self.segments, self.segment_items, self.kmeans_iterations)
        require(min(counts) >= 1, "deezernet.segments, segment_items and kmeans_iterations must be at least 1")


@dataclass(frozen=True)
class MeLUConfig:
    """MeLU (Lee et al. 2019): model-agnostic meta-learning, a user is a task."""

    dim: int = 128
    """The size of a user's and of an item's embedding, the sum of their features' (the paper joins four of 32)."""
    hidden: tuple[int, ...] = (64, 64)
    """Hidden units of the decision layers, ReLU."""
    local_layers: int = 3
    """How many of the decision layers, the output counted, adapt to a user; the paper adapts all three."""
    local_steps: int = 1
    """Gradient steps on a user's support set."""
    local_learning_rate: float = 1.0
    """α, of these steps. The paper's 5e-6 is for ratings."""
    support: int = 20
    """The latest events of a history that are the support set."""
    query: int = 10
    """Events after the support set that the meta-update learns from."""
    negatives: int = 4
    """Random items of label 0 for each event of label 1, in both sets."""
    cold_share: float = 0.5
    """The share of training users whose support set is withheld, because the global parameters, unadapted, rank for users
    without a history."""
    item_ids: bool | None = None
    """Whether items have embeddings of their own beside their features; None means: where they have no features."""

    def __post_init__(self) -> None:
        require(all(h > 0 for h in self.hidden) and self.dim >= 1, "melu.dim and melu.hidden must be positive")
        require(
            1 <= self.local_layers <= len(self.hidden) + 1,
            f"melu.local_layers must lie in 1…{len(self.hidden) + 1}, the layers there are, not {self.local_layers}",
        )
        counts = (self.local_steps, self.support, self.query, self.negatives)
        require(min(counts) >= 1, "melu.local_steps, support, query and negatives must be at least 1")
        require(self.local_learning_rate > 0, "melu.local_learning_rate must be positive")
        require(0 <= self.cold_share <= 1, f"melu.cold_share must lie in [0, 1], not {self.cold_share}")


@dataclass(frozen=True)
class AllToAllStage(StageConfig):
    """All-to-All SA after the tower."""

    epochs: int = 30
    patience: int = 5
    batch_size: int = 32
    learning_rate: float = 1e-3


@dataclass(frozen=True)
class TDMStage(StageConfig):
    """TDM after the tower."""

    epochs: int = 60
    learning_rate: float = 5e-4


@dataclass(frozen=True)
class AllToAllConfig:
    """All-to-All SA, the oracle (Eq. 2): every item meets the whole history, nothing is quantised. It begins from the tower
    and keeps the tokenizer still if `training.freeze_tokenizer` says so."""

    form: Literal["late", "full"] = "full"
    """`late`: SparCode's scorer (table `scorer`) reads the tokens themselves (Eq. 9 without Eq. 7), and has item vectors of
    its own where `scorer.untied_items` says so; then it wants small steps (`stage.learning_rate` = 1e-4). `full`: the
    candidate is a further token after the history, with the tokenizer's item vector, in self-attention blocks."""
    layers: int = 1
    """Blocks that the candidate passes (`full`)."""
    attention_heads: int = 2
    hidden: int = 64
    """Hidden units of a block's MLP."""
    dropout: float = 0.2
    """Of the states and candidates that the blocks read."""
    positions: int = 4
    """Positions of a window that one step trains on, drawn at random."""
    num_negatives: int = 256
    """As `loss.num_negatives`, which bounds it: a (position, candidate) pair is dear here."""
    stage: AllToAllStage = field(default_factory=AllToAllStage)
    """How the model is trained after the tower."""

    def __post_init__(self) -> None:
        for name in ("layers", "attention_heads", "hidden", "positions", "num_negatives"):
            require(getattr(self, name) >= 1, f"all_to_all.{name} must be at least 1, not {getattr(self, name)}")
        require(0 <= self.dropout < 1, f"all_to_all.dropout must lie in [0, 1), not {self.dropout}")


@dataclass(frozen=True)
class TDMConfig:
    """TDM (Zhu et al. 2018): a tree over the items, a user tower against its nodes, beam search. It begins from the tower;
    `tokenizer.kind = "dnn"` makes it TDM-DNN (§4.5)."""

    interaction: Literal["dot", "mlp"] = "mlp"
    """User against node: a scaled dot product, or an MLP beside it."""
    hidden: tuple[int, ...] = (16,)
    """Hidden units of the MLP."""
    branching: int = 2
    """Children a node."""
    beam: int = 200
    """Nodes kept a level when the tree is searched."""
    num_negatives: int = 512
    """As `loss.num_negatives`, which bounds it, for each level of the tree."""
    positions: int = 8
    """Positions of a window that one step trains on, drawn at random."""
    relearn_every: int = 5
    """Epochs after which the tree is made anew from the leaves' embeddings; 0 never."""
    relearn_times: int = 2
    """How often that is done."""
    stage: TDMStage = field(default_factory=TDMStage)
    """How the model is trained after the tower."""

    def __post_init__(self) -> None:
        require(2 <= self.branching <= 64, f"tdm.branching must lie in 2…64, not {self.branching}")
        for name in ("beam", "num_negatives", "positions"):
            require(getattr(self, name) >= 1, f"tdm.{name} must be at least 1, not {getattr(self, name)}")
        require(len(self.hidden) >= 1 and min(self.hidden) >= 1, "tdm.hidden must be positive numbers, one or more")
        require(self.relearn_every >= 0 and self.relearn_times >= 0, "tdm.relearn_… must not be negative")
