"""Configuration: frozen dataclasses, checked when they are made, read from TOML and written back to it.

`Config` is the whole of a training; its tables are the fields below. A key that does not exist is refused with the
nearest one that does.
"""

from __future__ import annotations

import dataclasses
import difflib
import sys
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

import tomli_w

from sparcode_es.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise ConfigError(message)


@dataclass(frozen=True)
class TokenizerConfig:
    """User → K_u tokens (Eq. 4-6), and item → K_c tokens."""

    source: Literal["history", "features"] = "history"
    """What a user's tokens are made of: the history (and the user's features, added to its state), or the user's features
    alone, for users who have no history; kinds `dnn` and `self_attention` then read the fields of the features."""
    kind: Literal["self_attention", "gru", "dnn", "capsule"] = "self_attention"
    """How a history is read: causal self-attention (SASRec), GRU (GRU4Rec), an MLP over the mean of the history (DSSM), or
    multi-interest capsules by dynamic routing (MIND), which are the K_u tokens themselves."""
    max_length: int = 50
    """How many of a user's latest events are read."""
    dim: int = 64
    """D, the size of item embeddings and tokens."""
    layers: int = 2
    """Blocks of self-attention, layers of the GRU."""
    attention_heads: int = 2
    hidden: tuple[int, ...] = (256, 256)
    """Hidden units of the DNN tokenizer."""
    routing_iterations: int = 3
    """Of the capsules."""
    dropout: float = 0.5
    tokens: int = 1
    """K_u, tokens a user."""
    token_heads: Literal["linear", "senet"] = "linear"
    """How K_u tokens come out of one state: a linear layer each, or squeeze-and-excitation gates (SENet)."""
    item_tokens: int = 1
    """K_c, tokens an item, a linear layer each."""
    use_features: bool = True
    """Whether the user and item features of the data folder's schema are read."""

    def __post_init__(self) -> None:
        _require(1 <= self.tokens <= 10, f"tokenizer.tokens (K_u) must lie in 1…10, not {self.tokens}")
        _require(1 <= self.item_tokens <= 10, f"tokenizer.item_tokens (K_c) must lie in 1…10, not {self.item_tokens}")
        _require(self.dim >= 2 and self.max_length >= 1, "tokenizer.dim must be at least 2 and max_length at least 1")
        _require(0 <= self.dropout < 1, f"tokenizer.dropout must lie in [0, 1), not {self.dropout}")
        _require(self.kind != "capsule" or self.tokens > 1, "tokenizer.kind 'capsule' needs tokens of at least 2")
        _require(self.routing_iterations >= 1, "tokenizer.routing_iterations must be at least 1")
        if self.source == "features":
            _require(
                self.kind in ("dnn", "self_attention"),
                f"tokenizer.source 'features' is read by the kinds dnn and self_attention, not by {self.kind}",
            )
            _require(self.use_features, "tokenizer.source 'features' needs tokenizer.use_features = true")
        _require(self.layers >= 1, f"tokenizer.layers must be at least 1, not {self.layers}")
        _require(
            self.kind != "self_attention" or self.dim % self.attention_heads == 0,
            f"tokenizer.dim ({self.dim}) must be a multiple of attention_heads ({self.attention_heads})",
        )


@dataclass(frozen=True)
class QuantizerConfig:
    """Token → codes (Eq. 7-8), and how the codebooks learn (Eq. 13 and the EMA update of §3.2.4)."""

    codebooks: int = 1
    """M."""
    codes: int = 1024
    """N, entries a codebook."""
    shared: bool = True
    """One set of codebooks for all heads, or one per head."""
    assignment: Literal["nearest", "pursuit"] = "pursuit"
    """`nearest`: one code a token, boost 1 (Eq. 7). `pursuit`: several codes a token with non-negative boosts, found by
    orthogonal matching pursuit, so that the boosted sum of code vectors is near the token (M = 1 only)."""
    codes_per_token: int = 8
    """How many codes `pursuit` gives a token at most."""
    decay: float = 0.99
    """γ of the EMA update."""
    gradient: Literal["straight_through", "soft", "commitment"] = "commitment"
    """What reaches the tokenizer through the codes: the identity, the soft assignment's derivative, or only Eq. 13. With
    `pursuit`, `soft` and a tokenizer that goes on learning, a training on MovieLens-100K diverged: prefer `commitment`."""
    commitment: float = 0.25
    """λ of Eq. 14, relative: the commitment term is scaled to this share of the match loss."""
    revive_below: float = 0.01
    """A code whose EMA count falls below this share of the mean count is set on a token of the batch."""
    min_perplexity: float = 0.1
    """Training fails when perplexity / N falls below this share after the first epoch with codes; 0 switches it off."""
    kmeans_iterations: int = 25

    def __post_init__(self) -> None:
        _require(1 <= self.codebooks <= 4, f"quantizer.codebooks (M) must lie in 1…4, not {self.codebooks}")
        _require(2 <= self.codes <= 65_536, f"quantizer.codes (N) must lie in 2…65536, not {self.codes}")
        _require(0 < self.decay < 1, f"quantizer.decay must lie in (0, 1), not {self.decay}")
        _require(0 <= self.min_perplexity < 1, "quantizer.min_perplexity must lie in [0, 1)")
        _require(1 <= self.codes_per_token <= 64, "quantizer.codes_per_token must lie in 1…64")
        _require(
            self.assignment == "nearest" or self.codes_per_token <= self.codes,
            f"quantizer.codes_per_token ({self.codes_per_token}) must not exceed quantizer.codes ({self.codes})",
        )
        if self.assignment == "pursuit":
            _require(self.codebooks == 1, "quantizer.assignment 'pursuit' needs codebooks = 1; use 'nearest' for M ≥ 2")
            _require(
                self.gradient != "straight_through",
                "quantizer.assignment 'pursuit' passes its gradient through the boosts: gradient must be 'soft' or 'commitment'",
            )


@dataclass(frozen=True)
class ScorerConfig:
    """(code, item) → S (Eq. 9 and Table 3)."""

    kind: Literal["dot", "maxsim", "crossnet", "dnn", "inner_pdnn"] = "inner_pdnn"
    hidden: tuple[int, ...] = (16,)
    """Hidden units of `dnn` and `inner_pdnn`."""
    cross_layers: int = 3
    residual: bool = True
    """Add the scaled dot product of code and first item token to S, so that an MLP only learns what it lacks."""
    untied_items: bool = True
    """The scorer has item vectors of its own, begun as a copy of the tokenizer's input embeddings."""
    free_codes: bool = True
    """The scorer's code vectors may move away from the codebook's: sg[C_k] + Δ_k, Δ learned."""
    initial_sparsity: float = 0.75
    """b of Eq. 10 begins where this share of the (code, item) scores is cut to 0."""
    memory: bool = True
    """Add the lift of (code, item) among the training pairs to S; its weight is chosen on validation. M = 1 only."""

    def __post_init__(self) -> None:
        _require(0 <= self.initial_sparsity < 1, "scorer.initial_sparsity must lie in [0, 1)")
        _require(self.cross_layers >= 1, "scorer.cross_layers must be at least 1")
        _require(all(h > 0 for h in self.hidden), "scorer.hidden must be positive numbers")


@dataclass(frozen=True)
class ItemCodesConfig:
    """Item codes: the history's latest items stand for themselves, beside the codes of the tokens. Their postings are
    remembered (the lift of what followed them in training), so they know pairs that no vector can express."""

    latest: int = 10
    """How many of the history's latest items give a code; 0 switches item codes off."""
    decay: float = 0.8
    """The boost of the n-th latest item is decayⁿ⁻¹, in a user's codes and in the training counts."""

    def __post_init__(self) -> None:
        _require(0 <= self.latest <= 256, f"item_codes.latest must lie in 0…256, not {self.latest}")
        _require(0 < self.decay <= 1, f"item_codes.decay must lie in (0, 1], not {self.decay}")


@dataclass(frozen=True)
class TwoTowerConfig:
    """What only `model = "two_tower"` has."""

    untied_items: bool = False
    """The dot product has item vectors of its own, begun as a copy of the tokenizer's input embeddings."""


@dataclass(frozen=True)
class LossConfig:
    """Sampled softmax (Eq. 12)."""

    negatives: Literal["uniform", "in_batch", "mixed", "all"] = "mixed"
    """Uniform samples shared by the batch; the batch's other positives, with logQ correction; both; or every item, the full
    softmax, for small catalogues."""
    num_negatives: int = 1024
    """Uniform samples a batch."""
    temperature: float = 0.07
    """Where the scale of the towers' dot product begins: 1 / temperature; it is learned from there."""

    def __post_init__(self) -> None:
        _require(self.num_negatives >= 1, "loss.num_negatives must be at least 1")
        _require(self.temperature > 0, "loss.temperature must be positive")


@dataclass(frozen=True)
class StageConfig:
    """One stage of training: the towers alone, then the codes and the scorer."""

    epochs: int = 100
    """At most this many; 0 leaves the stage out."""
    patience: int = 10
    """Stop after this many evaluations without a better validation metric."""
    evaluate_every: int = 1
    """Epochs between evaluations."""
    batch_size: int = 128
    """Sequences (or windows of a long one) a step."""
    learning_rate: float = 2e-3
    weight_decay: float = 0.0
    embedding_l2: float = 1e-6
    """L2 factor on the embedding table."""

    def __post_init__(self) -> None:
        _require(
            self.epochs >= 0 and self.patience >= 1 and self.evaluate_every >= 1, "a stage's counts must be positive"
        )
        _require(self.batch_size >= 1 and self.learning_rate > 0, "batch_size and learning_rate must be positive")


@dataclass(frozen=True)
class CodesStage(StageConfig):
    """SparCode after the tower."""

    epochs: int = 8
    patience: int = 2
    batch_size: int = 256
    learning_rate: float = 1e-3


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
    metric: str = "ndcg@50"
    """The validation metric that chooses the best epoch (all items ranked)."""
    validation_users: int = 10_000
    """At most this many validation users are ranked an epoch, drawn once with the seed."""
    seed: int = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    amp: bool = False
    """bfloat16 autocast; an error where there is no CUDA device."""
    compile: bool = False
    """torch.compile the tokenizer's encoder, of the systems that have one."""

    def __post_init__(self) -> None:
        _require(self.items_per_user >= 1, "training.items_per_user must be at least 1")
        _require(0 <= self.seed < 2**63, f"training.seed must lie in 0…2⁶³ - 1, not {self.seed}")
        name, _, k = self.metric.partition("@")
        _require(
            name in {"recall", "ndcg", "precision"} and k in {"5", "10", "20", "50"},
            f"training.metric must be recall@k, ndcg@k or precision@k with k of 5, 10, 20, 50, not {self.metric!r}",
        )
        _require(
            not (self.amp and self.device == "cpu"),
            "training.amp needs CUDA: set training.device to cuda or amp to false",
        )


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
        _require(self.dim >= 1, f"latents.dim must be at least 1, not {self.dim}")


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
        _require(all(h > 0 for h in self.hidden), "dropoutnet.hidden must be positive numbers")
        _require(self.rank >= 1, f"dropoutnet.rank must be at least 1, not {self.rank}")
        _require(0 <= self.dropout <= 1, f"dropoutnet.dropout must lie in [0, 1], not {self.dropout}")


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
    SVD. Deezer's own user features hold the first day's history already."""
    segments: int = 1000
    """Clusters of warm users' latents by k-means."""
    segment_items: int = 1000
    """The most popular items of a segment that are kept; others are not retrieved."""
    kmeans_iterations: int = 20

    def __post_init__(self) -> None:
        _require(all(h > 0 for h in self.hidden), "deezernet.hidden must be positive numbers")
        counts = (self.segments, self.segment_items, self.kmeans_iterations)
        _require(
            min(counts) >= 1, "deezernet.segments, segment_items and kmeans_iterations must be at least 1"
        )


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
        _require(all(h > 0 for h in self.hidden) and self.dim >= 1, "melu.dim and melu.hidden must be positive")
        _require(
            1 <= self.local_layers <= len(self.hidden) + 1,
            f"melu.local_layers must lie in 1…{len(self.hidden) + 1}, the layers there are, not {self.local_layers}",
        )
        counts = (self.local_steps, self.support, self.query, self.negatives)
        _require(min(counts) >= 1, "melu.local_steps, support, query and negatives must be at least 1")
        _require(self.support <= 256, f"melu.support must be at most 256, not {self.support}")
        _require(self.local_learning_rate > 0, "melu.local_learning_rate must be positive")
        _require(0 <= self.cold_share <= 1, f"melu.cold_share must lie in [0, 1], not {self.cold_share}")



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
            _require(getattr(self, name) >= 1, f"all_to_all.{name} must be at least 1, not {getattr(self, name)}")
        _require(0 <= self.dropout < 1, f"all_to_all.dropout must lie in [0, 1), not {self.dropout}")


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
        _require(2 <= self.branching <= 64, f"tdm.branching must lie in 2…64, not {self.branching}")
        for name in ("beam", "num_negatives", "positions"):
            _require(getattr(self, name) >= 1, f"tdm.{name} must be at least 1, not {getattr(self, name)}")
        _require(len(self.hidden) >= 1 and min(self.hidden) >= 1, "tdm.hidden must be positive numbers, one or more")
        _require(self.relearn_every >= 0 and self.relearn_times >= 0, "tdm.relearn_… must not be negative")


ModelName = Literal[
    "sparcode", "two_tower", "popularity", "all_to_all", "tdm", "dropoutnet", "melu", "deezernet"
]


@dataclass(frozen=True)
class Config:
    """Everything a training is told."""

    model: ModelName = "sparcode"
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    quantizer: QuantizerConfig = field(default_factory=QuantizerConfig)
    scorer: ScorerConfig = field(default_factory=ScorerConfig)
    item_codes: ItemCodesConfig = field(default_factory=ItemCodesConfig)
    two_tower: TwoTowerConfig = field(default_factory=TwoTowerConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    latents: LatentsConfig = field(default_factory=LatentsConfig)
    dropoutnet: DropoutNetConfig = field(default_factory=DropoutNetConfig)
    melu: MeLUConfig = field(default_factory=MeLUConfig)
    deezernet: DeezerNetConfig = field(default_factory=DeezerNetConfig)
    all_to_all: AllToAllConfig = field(default_factory=AllToAllConfig)
    tdm: TDMConfig = field(default_factory=TDMConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def __post_init__(self) -> None:
        _require(
            not (self.scorer.memory and self.quantizer.codebooks > 1),
            "scorer.memory needs quantizer.codebooks = 1; set scorer.memory = false for M ≥ 2",
        )
        _require(
            self.model == "two_tower" or not self.two_tower.untied_items,
            f"two_tower.untied_items is for model two_tower, not {self.model}; SparCode has scorer.untied_items",
        )
        _require(
            self.tokenizer.dim % self.quantizer.codebooks == 0,
            f"tokenizer.dim ({self.tokenizer.dim}) must be a multiple of quantizer.codebooks ({self.quantizer.codebooks})",
        )
        _require(
            not (self.tokenizer.source == "features" and self.item_codes.latest),
            "item codes stand for a history: set item_codes.latest = 0 with tokenizer.source = 'features'",
        )
        if self.model == "sparcode" and self.training.freeze_tokenizer:
            self._refuse_what_freezing_switches_off()
        if self.model == "all_to_all" and self.all_to_all.form == "full":
            self._check_full_form()

    def _refuse_what_freezing_switches_off(self) -> None:
        standard = QuantizerConfig()
        for name in ("gradient", "commitment", "decay", "revive_below"):
            _require(
                getattr(self.quantizer, name) == getattr(standard, name),
                f"quantizer.{name} does nothing while training.freeze_tokenizer is true: set training.freeze_tokenizer = false",
            )

    def _check_full_form(self) -> None:
        heads = self.all_to_all.attention_heads
        _require(
            self.tokenizer.source == "history",
            "all_to_all.form 'full' joins the candidate to a history, which tokenizer.source 'features' lacks; use 'late'",
        )
        _require(
            self.tokenizer.dim % heads == 0,
            f"tokenizer.dim ({self.tokenizer.dim}) must be a multiple of all_to_all.attention_heads ({heads})",
        )
        _require(
            self.tokenizer.kind != "capsule",
            "all_to_all.form 'full' reads one state an event, which tokenizer.kind 'capsule' lacks; use 'late'",
        )


@dataclass(frozen=True)
class PostingsConfig:
    """What of the (code, item) scores is kept (Eq. 15, §4.4)."""

    bias: float | None = None
    """b̃ of Eq. 15; None is the model's own b."""
    sparsity: float | None = None
    """Find b̃ so that this share of all pairs is cut; excludes `bias`."""
    max_postings_per_code: int | None = None
    max_codes_per_item: int | None = None
    min_codes_per_item: int = 0
    """A floor: a cut never takes an item's best n positive codes."""
    observed_codes_only: bool | None = None
    """Leave out codes that no user has; None means: when M ≥ 2."""
    block_codes: int = 64
    block_items: int = 65_536

    def __post_init__(self) -> None:
        _require(self.bias is None or self.sparsity is None, "give bias or sparsity, not both")
        _require(self.sparsity is None or 0 <= self.sparsity < 1, "sparsity must lie in [0, 1)")
        for name in ("max_postings_per_code", "max_codes_per_item"):
            value = getattr(self, name)
            _require(value is None or value >= 1, f"{name} must be at least 1")
        _require(self.min_codes_per_item >= 0, "min_codes_per_item must not be negative")
        _require(self.block_codes >= 1 and self.block_items >= 1, "block sizes must be at least 1")


T = TypeVar("T")


def from_mapping(cls: type[T], values: Mapping[str, Any], where: str = "") -> T:
    """Make the dataclass `cls` from nested tables. Raises `ConfigError` for unknown keys and wrong types."""
    hints = typing.get_type_hints(cls)
    known = [f.name for f in dataclasses.fields(cls)]  # type: ignore[arg-type]
    arguments = {}
    for key, value in values.items():
        path = f"{where}{key}"
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {where}{near[0]}?" if near else f"known keys: {', '.join(known)}"
            raise ConfigError(f"unknown configuration key {path}; {hint}")
        arguments[key] = _convert(hints[key], value, path)
    return cls(**arguments)


def _convert(hint: Any, value: Any, path: str) -> Any:
    """`value` as the annotated type, or `ConfigError`."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        return None if value is None else _convert(next(a for a in args if a is not type(None)), value, path)
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{path} must be a table, not {value!r}")
        return from_mapping(hint, value, f"{path}.")  # type: ignore[arg-type]
    if origin is Literal:
        if value not in args:
            raise ConfigError(f"{path} must be one of {', '.join(map(str, args))}, not {value!r}")
        return value
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise ConfigError(f"{path} must be a list, not {value!r}")
        return tuple(_convert(args[0], v, f"{path}[{i}]") for i, v in enumerate(value))
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, bool) is not (hint is bool) or not isinstance(value, hint):
        raise ConfigError(f"{path} must be {hint.__name__}, not {value!r}")
    return value


def to_mapping(config: Any) -> dict[str, Any]:
    """Nested plain tables of a config, without its None values (TOML has none)."""
    result: dict[str, Any] = {}
    for f in dataclasses.fields(config):
        value = getattr(config, f.name)
        if dataclasses.is_dataclass(value):
            result[f.name] = to_mapping(value)
        elif value is not None:
            result[f.name] = list(value) if isinstance(value, tuple) else value
    return result


def to_toml(config: Any) -> str:
    """The config as TOML text; `from_mapping(cls, parse_toml(text))` gives it back."""
    return tomli_w.dumps(to_mapping(config))


def parse_toml(text: str, where: str = "the configuration") -> dict[str, Any]:
    """TOML text as nested tables. Raises `ConfigError` with the line."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{where} is not TOML: {error}") from error


def preset_names() -> list[str]:
    """The presets that ship with the package."""
    folder = resources.files("sparcode_es.presets")
    return sorted(p.name.removesuffix(".toml") for p in folder.iterdir() if p.name.endswith(".toml"))


def load_config(
    path: Path | None = None, preset: str | None = None, overrides: Mapping[str, Any] | None = None
) -> Config:
    """Preset, then file, then overrides (`{"training.seed": 3}`), each over the one before."""
    values: dict[str, Any] = {}
    if preset is not None:
        if preset not in preset_names():
            raise ConfigError(f"unknown preset {preset!r}; there are: {', '.join(preset_names())}")
        text = resources.files("sparcode_es.presets").joinpath(f"{preset}.toml").read_text(encoding="utf-8")
        _merge(values, parse_toml(text, f"preset {preset}"))
    if path is not None:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot read the configuration {path}: {error}") from error
        _merge(values, parse_toml(text, str(path)))
    for key, value in (overrides or {}).items():
        nested: Any = value
        for part in reversed(key.split(".")):
            nested = {part: nested}
        _merge(values, nested)
    return from_mapping(Config, values)


def _merge(base: dict[str, Any], over: Mapping[str, Any]) -> None:
    for key, value in over.items():
        if isinstance(value, Mapping) and isinstance(base.get(key), dict):
            _merge(base[key], value)
        else:
            base[key] = dict(value) if isinstance(value, Mapping) else value
