"""SparCode and its two-tower twin: tokenizer, quantizer, scorer, item codes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from sparcode_es.config.checks import require


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
    dim: int = 128
    """D, the size of item embeddings and tokens."""
    members: int = 1
    """An ensemble of so many encoders, each with its own D / members columns of the item embeddings. In the tower each learns
    by a loss of its own; only the temperature is shared. Their tokens and items lie side by side: a dot product is the mean of
    theirs."""
    layers: int = 2
    """Blocks of self-attention, layers of the GRU."""
    attention_heads: int = 2
    """Of one encoder."""
    positions: Literal["relative", "absolute"] = "relative"
    """What self-attention knows of a history's order: how long ago an item was read, a learned bias per head and distance,
    or its place counted from the first, a learned vector each (SASRec counts from the last)."""
    hidden: tuple[int, ...] = (256, 256)
    """Hidden units of the DNN tokenizer."""
    routing_iterations: int = 3
    """Of the capsules."""
    dropout: float = 0.5
    tokens: int = 1
    """K_u, tokens a user."""
    token_heads: Literal["linear", "senet"] = "linear"
    """How K_u tokens come out of one state: the state itself and then a linear layer each, or SENet's gates."""
    item_tokens: int = 1
    """K_c, tokens an item, a linear layer each."""
    unit_items: bool = True
    """Whether a token meets items of length 1, so that the towers' score is a scaled cosine, or items as long as they grow
    (over √members)."""
    use_features: bool = True
    """Whether the user and item features of the data folder's schema are read."""

    def __post_init__(self) -> None:
        require(1 <= self.tokens <= 10, f"tokenizer.tokens (K_u) must lie in 1…10, not {self.tokens}")
        require(1 <= self.item_tokens <= 10, f"tokenizer.item_tokens (K_c) must lie in 1…10, not {self.item_tokens}")
        require(self.dim >= 2 and self.max_length >= 1, "tokenizer.dim must be at least 2 and max_length at least 1")
        require(0 <= self.dropout < 1, f"tokenizer.dropout must lie in [0, 1), not {self.dropout}")
        require(self.kind != "capsule" or self.tokens > 1, "tokenizer.kind 'capsule' needs tokens of at least 2")
        require(self.routing_iterations >= 1, "tokenizer.routing_iterations must be at least 1")
        if self.source == "features":
            require(
                self.kind in ("dnn", "self_attention"),
                f"tokenizer.source 'features' is read by the kinds dnn and self_attention, not by {self.kind}",
            )
            require(self.use_features, "tokenizer.source 'features' needs tokenizer.use_features = true")
        require(all(h > 0 for h in self.hidden), "tokenizer.hidden must be positive numbers")
        require(self.layers >= 1, f"tokenizer.layers must be at least 1, not {self.layers}")
        require(self.attention_heads >= 1, f"tokenizer.attention_heads must be at least 1, not {self.attention_heads}")
        self._check_members()
        require(
            self.kind != "self_attention" or self.dim % (self.members * self.attention_heads) == 0,
            f"tokenizer.dim ({self.dim}) must be a multiple of attention_heads ({self.attention_heads})"
            + ("" if self.members == 1 else f" times members ({self.members})"),
        )

    def _check_members(self) -> None:
        require(1 <= self.members <= 8, f"tokenizer.members must lie in 1…8, not {self.members}")
        require(
            self.dim % self.members == 0 and self.dim >= 2 * self.members,
            f"tokenizer.dim ({self.dim}) must be a multiple of tokenizer.members ({self.members}), and at least twice as large",
        )
        require(
            self.members == 1 or (self.source == "history" and self.kind != "capsule"),
            "tokenizer.members above 1 needs tokenizer.source 'history' and another kind than 'capsule'",
        )

    @property
    def member(self) -> TokenizerConfig:
        """What one member of the ensemble is."""
        return self if self.members == 1 else replace(self, dim=self.dim // self.members, members=1)


@dataclass(frozen=True)
class QuantizerConfig:
    """Token → codes (Eq. 7-8), and how the codebooks learn (Eq. 13 and the EMA update of §3.2.4)."""

    codebooks: int = 1
    """M."""
    codes: int = 1024
    """N, entries a codebook; a training takes never more than a quarter of the log's positions, nor than four an item."""
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
    """What reaches the tokenizer through the codes: the identity, the soft assignment's derivative, or only Eq. 13, by
    which alone codes collapsed where the tokenizer went on learning (`benchmarks/ablation.py`)."""
    commitment: float = 0.25
    """λ of Eq. 14."""
    revive_below: float = 0.01
    """A code whose EMA count falls below this share of the mean count is set on a token of the batch."""
    min_perplexity: float = 0.1
    """Training fails when perplexity / N is below this share after any epoch with codes; 0 switches it off."""
    kmeans_iterations: int = 25

    def __post_init__(self) -> None:
        require(1 <= self.codebooks <= 4, f"quantizer.codebooks (M) must lie in 1…4, not {self.codebooks}")
        require(2 <= self.codes <= 65_536, f"quantizer.codes (N) must lie in 2…65536, not {self.codes}")
        require(0 < self.decay < 1, f"quantizer.decay must lie in (0, 1), not {self.decay}")
        require(0 <= self.min_perplexity < 1, "quantizer.min_perplexity must lie in [0, 1)")
        require(1 <= self.codes_per_token <= 64, "quantizer.codes_per_token must lie in 1…64")
        require(
            self.assignment == "nearest" or self.codes_per_token <= self.codes,
            f"quantizer.codes_per_token ({self.codes_per_token}) must not exceed quantizer.codes ({self.codes})",
        )
        if self.assignment == "pursuit":
            require(self.codebooks == 1, "quantizer.assignment 'pursuit' needs codebooks = 1; use 'nearest' for M ≥ 2")
            require(
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
    """Add the lift of (code, item) among the training pairs to S. M = 1 only."""
    memory_weight: float | None = None
    """The weight of that lift; None: validation chooses it."""

    def __post_init__(self) -> None:
        require(0 <= self.initial_sparsity < 1, "scorer.initial_sparsity must lie in [0, 1)")
        require(self.cross_layers >= 1, "scorer.cross_layers must be at least 1")
        require((self.memory_weight or 0) >= 0, "scorer.memory_weight must not be negative")
        require(len(self.hidden) >= 1 and min(self.hidden) >= 1, "scorer.hidden must be positive numbers, one or more")


@dataclass(frozen=True)
class ItemCodesConfig:
    """Codes of items: the history's latest items stand for themselves, beside the codes of the tokens. Item codes' postings are
    remembered (the lift of what followed them in training), so they know pairs that no vector can express; a repeat code finds
    its item again."""

    latest: int = 10
    """How many of the history's latest items give an item code; 0 switches item codes off, and repeat codes with them."""
    decay: float = 0.7
    """The boost of the n-th latest item of a user is decayⁿ⁻¹."""
    window: int = 20
    """How many of the items before an event count as followed by it, in training and in updates. By default more
    than give codes to a user: a pair that lies further apart tells less of the next event, but there are many such pairs."""
    window_decay: float = 0.9
    """The n-th item before an event counts window_decayⁿ⁻¹."""
    weight: float | None = None
    """The weight of the remembered lifts; None: validation chooses it."""
    ridge_share: float | None = None
    """The share of ridge weights beside the lifts (`sparcode_es.training.ridge`); 0 does without; None: validation chooses it."""
    repeat_weight: float | None = None
    """The score of repeat codes (`sparcode_es.models.repeat`), for logs in which users come back to items of their history; 0
    does without; None: validation chooses it, with every item ranked."""
    repeat_power: float | None = None
    """How much an item's own repeat rate says in that score, an exponent; 0: all have the same; None: validation chooses it."""
    repeat_latest: int = 64
    """How many of the history's latest events give their item a repeat code; 0 switches repeat codes off."""
    repeat_decay: float = 0.98
    """The boost of the n-th latest event's item is repeat_decayⁿ⁻¹, added up where it occurs again."""

    def __post_init__(self) -> None:
        require(0 <= (self.ridge_share or 0) < 1, "item_codes.ridge_share must lie in [0, 1)")
        require(0 <= self.latest <= 256, f"item_codes.latest must lie in 0…256, not {self.latest}")
        require(1 <= self.window <= 256, f"item_codes.window must lie in 1…256, not {self.window}")
        require(0 <= self.repeat_latest <= 256, f"item_codes.repeat_latest must lie in 0…256, not {self.repeat_latest}")
        for name in ("decay", "window_decay", "repeat_decay"):
            require(0 < getattr(self, name) <= 1, f"item_codes.{name} must lie in (0, 1], not {getattr(self, name)}")
        require(
            not self.repeat_weight or (self.latest > 0 and self.repeat_latest > 0),
            "item_codes.repeat_weight is of no use with item_codes.latest = 0 or item_codes.repeat_latest = 0: no repeat codes",
        )
        require((self.repeat_power or 0) <= 4, f"item_codes.repeat_power must be at most 4, not {self.repeat_power}")
        for name in ("weight", "repeat_weight", "repeat_power"):
            require((getattr(self, name) or 0) >= 0, f"item_codes.{name} must not be negative")


@dataclass(frozen=True)
class TwoTowerConfig:
    """What only `model = "two_tower"` has."""

    untied_items: bool = False
    """The dot product has item vectors of its own, begun as a copy of the tokenizer's input embeddings."""
