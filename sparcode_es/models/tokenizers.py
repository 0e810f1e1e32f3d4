"""Tokenizers: a history of items → K_u tokens (Eq. 4-6), and items → K_c tokens.

B is a batch of histories, L their padded length, P the positions asked for, D the embedding size. Histories are padded on
the right; every encoder is causal, so that the state at position t has read items 0…t and nothing after it, and one pass
over a history trains on each of its positions.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sparcode_es.config import TokenizerConfig
from sparcode_es.models.capsule import CapsuleEncoder
from sparcode_es.models.dropout import Dropout
from sparcode_es.models.features import FeatureEncoder, FeatureSpec

SMALL_START = 0.02
"""Of item embeddings before training where their length does not matter: small, so that what is learned soon outweighs it."""


def mlp(sizes: Sequence[int], dropped: float = 0.0) -> nn.Sequential:
    """Linear layers with GELU and dropout between them; `sizes` from input to output."""
    layers: list[nn.Module] = []
    for i, (before, after) in enumerate(itertools.pairwise(sizes)):
        layers.append(nn.Linear(before, after))
        if i < len(sizes) - 2:
            layers += [nn.GELU(), Dropout(dropped)]
    return nn.Sequential(*layers)


class Recency(nn.Module):
    """What attention adds for how long ago an item was read: a learned number per head and distance (the relative position
    bias of T5, Raffel et al. 2020, one bucket a distance). It says the same wherever in a history the present stands."""

    def __init__(self, heads: int, longest: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(heads, longest))

    def forward(self, length: int) -> Tensor:
        """→ what is added to the logits of position i for position j, [heads, L, L]; -inf for j > i."""
        places = torch.arange(length, device=self.bias.device)
        distance = places.unsqueeze(1) - places
        return self.bias[:, distance.clamp(min=0)].masked_fill(distance < 0, -torch.inf)


class Block(nn.Module):
    """One pre-norm Transformer block, its attention causal or not (Vaswani et al. 2017; SASRec's order of layers)."""

    def __init__(
        self,
        dim: int,
        heads: int,
        dropout: float,
        causal: bool = True,
        hidden: int | None = None,
        recency: Recency | None = None,
    ) -> None:
        super().__init__()
        self.heads, self.dropout, self.causal, self.recency = heads, Dropout(dropout), causal, recency
        self.norm_attention, self.norm_mlp = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.query_key_value, self.output = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.mlp = mlp([dim, hidden or 4 * dim, dim], dropout)

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, L, D] → [B, L, D]."""
        B, L, D = x.shape
        q, k, v = self.query_key_value(self.norm_attention(x)).view(B, L, 3, self.heads, D // self.heads).unbind(2)
        attended = F.scaled_dot_product_attention(
            q.transpose(1, 2),
            k.transpose(1, 2),
            v.transpose(1, 2),
            attn_mask=None if self.recency is None else self.recency(L),
            dropout_p=self.dropout.share if self.training else 0.0,
            is_causal=self.causal and self.recency is None,
        )
        x = x + self.dropout(self.output(attended.transpose(1, 2).reshape(B, L, D)))
        return x + self.dropout(self.mlp(self.norm_mlp(x)))


class SelfAttentionEncoder(nn.Module):
    """Causal self-attention over the history (SASRec, Kang and McAuley 2018), its order told by `positions`.

    The residual begins at the normalised embeddings (SASRec's own code has them so in its first block): what a block adds
    is small beside the item itself, however small its embedding still is.
    """

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        heads, relative = config.attention_heads, config.positions == "relative"
        self.positions: nn.Embedding | None = None
        if not relative:
            self.positions = nn.Embedding(config.max_length, config.dim)
            nn.init.normal_(self.positions.weight, std=0.02)
        self.blocks = nn.ModuleList(
            Block(config.dim, heads, config.dropout, recency=Recency(heads, config.max_length) if relative else None)
            for _ in range(config.layers)
        )
        self.norm_input, self.norm = nn.LayerNorm(config.dim), nn.LayerNorm(config.dim)
        self.dropout = Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """x: item embeddings [B, L, D] → states [B, L, D]."""
        x = x if self.positions is None else x + self.positions.weight[: x.shape[1]]
        x = self.dropout(self.norm_input(x))
        for block in self.blocks:
            x = block(x)
        states: Tensor = self.norm(x)
        return states


class GRUEncoder(nn.Module):
    """GRU over the history (GRU4Rec, Hidasi et al. 2016)."""

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        between = config.dropout if config.layers > 1 else 0.0
        self.gru = nn.GRU(config.dim, config.dim, config.layers, batch_first=True, dropout=between)
        self.dropout, self.norm = Dropout(config.dropout), nn.LayerNorm(config.dim)

    def forward(self, x: Tensor) -> Tensor:
        """x: item embeddings [B, L, D] → states [B, L, D]."""
        states: Tensor = self.norm(self.gru(self.dropout(x))[0])
        return states


class DNNEncoder(nn.Module):
    """An MLP over the mean of the history so far and its latest item (DSSM, YoutubeDNN)."""

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.mlp = mlp([2 * config.dim, *config.hidden, config.dim], config.dropout)
        self.dropout = Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """x: item embeddings [B, L, D] → states [B, L, D]."""
        x = self.dropout(x)
        length = torch.arange(1, x.shape[1] + 1, device=x.device, dtype=x.dtype).unsqueeze(-1)
        states: Tensor = self.mlp(torch.cat([x.cumsum(1) / length, x], dim=-1))
        return states


class LinearHeads(nn.Module):
    """K_u tokens of one state: the state itself, then a linear layer each (the paper has one before the first, too, §4.1.3).

    Self-attention's state has the embedding of the latest item as its residual: before anything is learned it is near the items
    like that one. On Amazon Beauty a layer before the first token costs recall, even one that begins at the identity; so the
    other tokens begin there, near the first, and not at random.
    """

    def __init__(self, dim: int, tokens: int) -> None:
        super().__init__()
        self.tokens, self.linear = tokens, nn.Linear(dim, (tokens - 1) * dim) if tokens > 1 else None
        if self.linear is not None:
            with torch.no_grad():
                self.linear.weight.normal_(std=SMALL_START).add_(torch.eye(dim).repeat(tokens - 1, 1))
                self.linear.bias.zero_()

    def forward(self, states: Tensor) -> Tensor:
        """states: [P, D] → [P, K_u, D]."""
        first = states.unsqueeze(-2)
        if self.linear is None:
            return first
        return torch.cat([first, self.linear(states).view(*states.shape[:-1], self.tokens - 1, -1)], -2)


class SENetHeads(nn.Module):
    """K_u squeeze-and-excitation gates on one state (Hu et al. 2018), each followed by a shared linear layer."""

    def __init__(self, dim: int, tokens: int, reduction: int = 4) -> None:
        super().__init__()
        self.tokens = tokens
        squeezed = max(1, dim // reduction)
        self.gates = nn.Sequential(nn.Linear(dim, squeezed), nn.ReLU(), nn.Linear(squeezed, tokens * dim), nn.Sigmoid())
        self.linear = nn.Linear(dim, dim)

    def forward(self, states: Tensor) -> Tensor:
        """states: [P, D] → [P, K_u, D]."""
        gates = self.gates(states).view(*states.shape[:-1], self.tokens, -1)
        heads: Tensor = self.linear(states.unsqueeze(-2) * gates)
        return heads


class Members(nn.Module):
    """An ensemble's modules, each on its own columns: [..., members · d] → [..., members · d]."""

    def __init__(self, members: Iterable[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, x: Tensor) -> Tensor:
        """The members' outputs side by side."""
        parts = x.chunk(len(self.members), -1)
        return torch.cat([member(part) for member, part in zip(self.members, parts, strict=True)], -1)


def ensemble(members: list[nn.Module]) -> nn.Module:
    """The modules as one."""
    return members[0] if len(members) == 1 else Members(members)


def unit(x: Tensor, members: int) -> Tensor:
    """x: [..., D] → of length 1, every member's columns of the same length."""
    return F.normalize(x.unflatten(-1, (members, -1)), dim=-1).flatten(-2) * members**-0.5


def tokens_at(states: Tensor, positions: Tensor, added: Tensor | None, heads: nn.Module | None, members: int) -> Tensor:
    """Eq. 6: states [B, L, D] or [B, L, K_u, D], flat positions [P], what is added to their states [P, D] → [P, K_u, D]."""
    states = states.reshape(states.shape[0] * states.shape[1], -1, states.shape[-1])[positions]  # [P, 1 or K_u, D]
    if added is not None:
        states = states + added.unsqueeze(1)
    return unit(states if heads is None else heads(states[:, 0]), members)


ENCODERS = {"self_attention": SelfAttentionEncoder, "gru": GRUEncoder, "dnn": DNNEncoder, "capsule": CapsuleEncoder}
HEADS = {"linear": LinearHeads, "senet": SENetHeads}


class ItemEmbedder(nn.Module):
    """Items → embeddings with features (Eq. 5): a tokenizer's input side, and the output side of the towers' dot product."""

    def __init__(self, config: TokenizerConfig, num_items: int, item_features: Sequence[FeatureSpec] = ()) -> None:
        super().__init__()
        self.config, self.num_items = config, num_items
        self.item_embedding = nn.Embedding(num_items, config.dim)
        normalised = config.source == "history" and config.kind == "self_attention"
        nn.init.normal_(self.item_embedding.weight, std=SMALL_START if normalised else config.member.dim**-0.5)
        self.item_features = FeatureEncoder("item", item_features, num_items, config.dim)

    def items(self, items: Tensor) -> Tensor:
        """items: int64 [...] → their embeddings with features, [..., D] (Eq. 5, summed)."""
        embedded: Tensor = self.item_embedding(items)
        return embedded + self.content(items)

    def content(self, items: Tensor) -> Tensor | float:
        """items: int64 [...] → the sum of their features' embeddings, [..., D]; 0 where they have none."""
        found: Tensor | float = self.item_features(items) if self.item_features.specs else 0.0
        return found

    def targets(self, items: Tensor) -> Tensor:
        """items: int64 [...] → what a token meets of them, [..., D]: their embeddings, as in `as_targets`."""
        return self.as_targets(self.items(items))

    def as_targets(self, embedded: Tensor) -> Tensor:
        """Embeddings [..., D] → of length 1 where `unit_items` says so; else the dot product is the mean of the members'."""
        members = self.config.members
        return unit(embedded, members) if self.config.unit_items else embedded * members**-0.5


class OwnItems(nn.Embedding):
    """Item vectors that a scorer has for itself, [I, D]; what their features add is the embedder's."""

    @torch.no_grad()
    def begin_from(self, embedder: ItemEmbedder) -> None:
        """Begin so that `vectors` are the embedder's targets."""
        items = torch.arange(len(self.weight), device=self.weight.device)
        self.weight.copy_(embedder.targets(items) - embedder.content(items))

    def vectors(self, items: Tensor, embedder: ItemEmbedder) -> Tensor:
        """items: int64 [n] → [n, D]."""
        vectors: Tensor = self(items) + embedder.content(items)
        return vectors


class Tokenizer(ItemEmbedder):
    """User → tokens of length 1: item embeddings (and features) → causal encoder → K_u heads (Eq. 6)."""

    def __init__(
        self,
        config: TokenizerConfig,
        num_items: int,
        num_users: int = 0,
        item_features: Sequence[FeatureSpec] = (),
        user_features: Sequence[FeatureSpec] = (),
    ) -> None:
        super().__init__(config, num_items, item_features)
        self.user_features = FeatureEncoder("user", user_features, num_users, config.dim)
        member = config.member
        self.encoder = ensemble([ENCODERS[config.kind](member) for _ in range(config.members)])
        self.heads: nn.Module | None = None  # of capsules, which come out as K_u tokens already
        if config.kind != "capsule":
            self.heads = ensemble([HEADS[config.token_heads](member.dim, config.tokens) for _ in range(config.members)])

    def forward(self, histories: Tensor, positions: Tensor, users: Tensor) -> Tensor:
        """histories: int64 [B, L] (padded on the right with any item), positions: flat indices into B·L, int64 [P],
        users: rows of the user features or -1, int64 [B] → unit tokens [P, K_u, D]."""
        return self.tokens_of(self.states(histories), positions, users)

    def states(self, histories: Tensor) -> Tensor:
        """histories: int64 [B, L] → the encoder's states, [B, L, D], or [B, L, K_u, D] of capsules."""
        states: Tensor = self.encoder(self.items(histories))
        return states

    def tokens_of(self, states: Tensor, positions: Tensor, users: Tensor) -> Tensor:
        """Eq. 6 from states: see `forward`."""
        known = self.user_features(users)[positions // states.shape[1]] if self.user_features.specs else None
        return tokens_at(states, positions, known, self.heads, self.config.members)


class ItemTokens(nn.Module):
    """Items → K_c tokens by K_c linear layers, each begun at the identity times `start` (§3.2.1, §4.1.3)."""

    def __init__(self, dim: int, tokens: int, start: float = 1.0) -> None:
        super().__init__()
        self.tokens, self.dim = tokens, dim
        self.linear = nn.Linear(dim, tokens * dim)
        with torch.no_grad():
            self.linear.weight.copy_(torch.eye(dim).repeat(tokens, 1))
            self.linear.weight[dim:] += 0.02 * torch.randn(dim * (tokens - 1), dim)
            self.linear.weight *= start
            self.linear.bias.zero_()

    def forward(self, embedded: Tensor) -> Tensor:
        """embedded: [n, D] → [n, K_c, D]."""
        tokens: Tensor = self.linear(embedded)
        return tokens.view(-1, self.tokens, self.dim)
