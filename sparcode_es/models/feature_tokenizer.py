"""Tokenizers that read a user's features and no history (§4.1.2: DSSM and SA on Deezer), so that they know cold users too.

Their user tables are not in the checkpoint: they are as large as the data, and they come from the data folder
(`sparcode_es.training.build.load_user_features`). F fields: each feature but the numerical ones, and those together.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sparcode_es.config import TokenizerConfig
from sparcode_es.errors import ConfigError
from sparcode_es.models.dropout import Dropout
from sparcode_es.models.features import FeatureSpec, FeatureTables, feature_layer, mean_embedding
from sparcode_es.models.tokenizers import HEADS, Block, ItemEmbedder, Tokenizer, mlp


class UserFields(FeatureTables):
    """What both encoders share: users' tables, read from the data folder, and their scalars side by side."""

    def __init__(self, specs: Sequence[FeatureSpec]) -> None:
        super().__init__("user", specs, 0, persistent=False)
        self.scalars = [spec for spec in self.specs if spec.kind == "numerical"]
        self.others = [spec for spec in self.specs if spec.kind != "numerical"]

    def numbers(self, users: Tensor) -> Tensor:
        """sign(x) · log(1 + |x|) of the standardised scalars, whose tails are long: int64 [...] → [..., scalars]."""
        x = torch.cat([self.values(spec, users) for spec in self.scalars], dim=-1)
        return x.sign() * x.abs().log1p()


class FieldsDNN(UserFields):
    """An MLP over all fields end to end, vectors and scalars as they are and categories embedded (DSSM, Huang et al. 2013)."""

    def __init__(self, config: TokenizerConfig, specs: Sequence[FeatureSpec]) -> None:
        super().__init__(specs)
        self.embeddings = nn.ModuleDict({s.key: feature_layer(s, config.dim) for s in self.others if s.integral})
        width = sum(config.dim if spec.integral else spec.width for spec in self.specs)
        self.mlp = mlp([width, *config.hidden, config.dim], config.dropout)

    def raw(self, users: Tensor) -> Tensor:
        """users: int64 [...] → the fields end to end, [..., W]."""
        parts = [self.numbers(users)] if self.scalars else []
        for spec in self.others:
            values = self.values(spec, users)
            parts.append(mean_embedding(self.embeddings[spec.key], values) if spec.integral else values)
        return torch.cat(parts, dim=-1)

    def forward(self, users: Tensor) -> Tensor:
        """users: int64 [B], -1 for unknown → states [B, D]."""
        states: Tensor = self.mlp(self.raw(users))
        return states


class FieldsAttention(UserFields):
    """Self-attention over the fields, each projected to D, and a token that reads them out (SA of §4.1.2)."""

    def __init__(self, config: TokenizerConfig, specs: Sequence[FeatureSpec]) -> None:
        super().__init__(specs)
        self.layers = nn.ModuleDict({spec.key: feature_layer(spec, config.dim) for spec in self.others})
        self.scalar_layer = nn.Linear(len(self.scalars), config.dim) if self.scalars else None
        fields = len(self.others) + bool(self.scalars)
        self.names = nn.Parameter(config.dim**-0.5 * torch.randn(1 + fields, config.dim))
        self.blocks = nn.ModuleList(
            Block(config.dim, config.attention_heads, config.dropout, causal=False) for _ in range(config.layers)
        )
        self.norm, self.dropout = nn.LayerNorm(config.dim), Dropout(config.dropout)

    def fields(self, users: Tensor) -> Tensor:
        """users: int64 [...] → one vector a field, [..., F, D]; 0 for a vector or category that is missing."""
        parts = [] if self.scalar_layer is None else [self.scalar_layer(self.numbers(users))]
        for spec in self.others:
            values, layer = self.values(spec, users), self.layers[spec.key]
            parts.append(mean_embedding(layer, values) if spec.integral else layer(values))
        return torch.stack(parts, dim=-2)

    def forward(self, users: Tensor) -> Tensor:
        """users: int64 [B], -1 for unknown → states [B, D]."""
        x = self.dropout(F.pad(self.fields(users), (0, 0, 1, 0)) + self.names)  # [B, 1 + F, D]
        for block in self.blocks:
            x = block(x)
        states: Tensor = self.norm(x[:, 0])
        return states


FIELD_ENCODERS: dict[str, type[FieldsDNN] | type[FieldsAttention]] = {
    "dnn": FieldsDNN,
    "self_attention": FieldsAttention,
}


class FeatureTokenizer(ItemEmbedder):
    """User features → encoder → K_u heads (Eq. 4 and 6), unit tokens. Items as in `Tokenizer`."""

    def __init__(
        self,
        config: TokenizerConfig,
        num_items: int,
        item_features: Sequence[FeatureSpec],
        user_features: Sequence[FeatureSpec],
    ) -> None:
        super().__init__(config, num_items, item_features)
        if not user_features:
            raise ConfigError("tokenizer.source 'features' reads user features, and the data folder declares none")
        self.encoder = FIELD_ENCODERS[config.kind](config, user_features)
        self.heads = HEADS[config.token_heads](config.dim, config.tokens)

    def forward(self, histories: Tensor, positions: Tensor, users: Tensor) -> Tensor:
        """histories: int64 [B, L], of which only L is read; positions: flat indices into B·L, int64 [P]; users: rows of the
        user features or -1, int64 [B] → tokens [P, K_u, D]."""
        states = self.encoder(users[positions // histories.shape[1]])
        return F.normalize(self.heads(states), dim=-1)


def make_tokenizer(
    config: TokenizerConfig,
    num_items: int,
    num_users: int = 0,
    item_features: Sequence[FeatureSpec] = (),
    user_features: Sequence[FeatureSpec] = (),
) -> Tokenizer | FeatureTokenizer:
    """The tokenizer that `config.source` names."""
    if config.source == "features":
        return FeatureTokenizer(config, num_items, item_features, user_features)
    return Tokenizer(config, num_items, num_users, item_features, user_features)
