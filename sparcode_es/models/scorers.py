"""Scorers: (code vector, item tokens) → S (Eq. 9 and §4.3.1's other interactions).

Q code vectors, n items, K_c tokens each, D. Every scorer maps codes [Q, D] and items [n, K_c, D] to S [Q, n], so that one
call scores a block of the (code, item) table. First layers that are linear in the code or the item are applied before the
pairs are formed: a pair costs only what is not additive.
"""

from __future__ import annotations

import functools
import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from sparcode_es.config import ScorerConfig
from sparcode_es.models.pair_layer import pair_layer
from sparcode_es.models.tokenizers import ItemTokens

PAIR_NUMBERS = 1 << 26
"""Numbers of a layer that are held at once for the pairs of a block of codes."""


class Scorer(nn.Module):
    """Codes [Q, D], item tokens [n, K_c, D] → S [Q, n]."""

    numbers_a_pair = 1
    """Numbers that a layer holds for each pair."""


class DotProduct(Scorer):
    """S = Σ_j <T̃, T_j>."""

    def forward(self, codes: Tensor, items: Tensor) -> Tensor:
        return codes @ items.sum(1).T


class MaxSim(Scorer):
    """S = max_j <T̃, T_j> (ColBERT's interaction)."""

    def forward(self, codes: Tensor, items: Tensor) -> Tensor:
        return torch.einsum("qd,njd->qnj", codes, items).amax(-1)


class Head(nn.Module):
    """The layers after the first: pre-activations [Q, n, h] → S [Q, n].

    Beside a residual the last layer begins at 0. Alone it must not: all S would be equal, and the ReLU of Eq. 10 dead.
    """

    def __init__(self, hidden: tuple[int, ...], residual: bool) -> None:
        super().__init__()
        self.first_width = hidden[0]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(hidden))
        self.output = nn.Linear(hidden[-1], 1)
        if residual:
            nn.init.zeros_(self.output.weight)
            nn.init.zeros_(self.output.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(x)
        for layer in self.layers:
            x = F.relu(layer(x))
        scores: Tensor = self.output(x)
        return scores.squeeze(-1)


class DNN(Scorer):
    """S = MLP([T̃; T_1; …; T_Kc]). The first layer is a sum of one part for the code and one for the item."""

    def __init__(self, dim: int, item_tokens: int, hidden: tuple[int, ...], residual: bool = True) -> None:
        super().__init__()
        self.numbers_a_pair = max(hidden)
        self.code, self.item = nn.Linear(dim, hidden[0]), nn.Linear(item_tokens * dim, hidden[0], bias=False)
        self.head = Head(hidden, residual)

    def forward(self, codes: Tensor, items: Tensor) -> Tensor:
        scores: Tensor = self.head(self.code(codes).unsqueeze(1) + self.item(items.flatten(1)))
        return scores


class InnerPDNN(Scorer):
    """S = MLP([T̃ ⊙ T_1; …; T̃ ⊙ T_Kc]) (Eq. 9).

    The first layer is bilinear: hidden unit h is <T̃, g_h> with g_h = Σ_j W_hj ⊙ T_j, one matrix an item.
    """

    def __init__(self, dim: int, item_tokens: int, hidden: tuple[int, ...], residual: bool = True) -> None:
        super().__init__()
        self.numbers_a_pair = max(hidden) if len(hidden) > 1 else 1  # a single layer comes in tiles
        first = nn.Linear(item_tokens * dim, hidden[0])
        self.weight = nn.Parameter(first.weight.detach().view(hidden[0], item_tokens, dim).clone())
        self.bias = nn.Parameter(first.bias.detach().clone())
        self.head = Head(hidden, residual)

    def forward(self, codes: Tensor, items: Tensor) -> Tensor:
        gates = torch.einsum("hjd,njd->nhd", self.weight, items)  # [n, h, D]
        n, h, D = gates.shape
        if not len(self.head.layers):
            output = self.head.output
            return pair_layer(codes, gates, self.bias, output.weight[0]) + output.bias
        pairs = (codes @ gates.reshape(n * h, D).T).view(-1, n, h)
        scores: Tensor = self.head(pairs + self.bias)
        return scores


class CrossNet(Scorer):
    """S = w · CrossNet([T̃; T_1; …; T_Kc]), the cross layers of DCN V2 (Wang et al. 2021)."""

    def __init__(self, dim: int, item_tokens: int, layers: int) -> None:
        super().__init__()
        self.numbers_a_pair = width = (1 + item_tokens) * dim
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))
        self.output = nn.Linear(width, 1)

    def forward(self, codes: Tensor, items: Tensor) -> Tensor:
        flat = items.flatten(1)
        start = torch.cat(
            [codes.unsqueeze(1).expand(-1, len(flat), -1), flat.unsqueeze(0).expand(len(codes), -1, -1)], dim=-1
        )
        x = start
        for layer in self.layers:
            x = start * layer(x) + x
        scores: Tensor = self.output(x)
        return scores.squeeze(-1)


def in_blocks(scorer: Scorer, codes: Tensor, items: Tensor) -> Tensor:
    """S, a block of codes at a time where all pairs would hold too much; the backward pass makes each block's layers again."""
    at_once = max(1, PAIR_NUMBERS // max(1, len(items) * scorer.numbers_a_pair))
    if len(codes) <= at_once:
        scores: Tensor = scorer(codes, items)
        return scores
    score = functools.partial(checkpoint, scorer, use_reentrant=False) if torch.is_grad_enabled() else scorer
    return torch.cat([score(block, items) for block in codes.split(at_once)])


def scaled_scores(config: ScorerConfig, scorer: Scorer, codes: Tensor, items: Tensor, scale: Tensor) -> Tensor:
    """S of Eq. 9: the scorer's, and with `residual` the scaled dot product of code and first item token; [Q, n]."""
    scores = in_blocks(scorer, codes, items)
    if config.kind in ("dot", "maxsim"):
        return scores * scale
    return scores + scale * (codes @ items[:, 0].T) if config.residual else scores


def make_item_tokens(config: ScorerConfig, dim: int, item_tokens: int) -> ItemTokens:
    """The layers of K_c item tokens. Those of a dot product, which sums over them, begin at 1 / K_c: at the tower's scores."""
    return ItemTokens(dim, item_tokens, 1 / item_tokens if config.kind == "dot" else 1.0)


def make_scorer(config: ScorerConfig, dim: int, item_tokens: int) -> Scorer:
    """The scorer that `config.kind` names."""
    if config.kind == "dot":
        return DotProduct()
    if config.kind == "maxsim":
        return MaxSim()
    if config.kind == "crossnet":
        return CrossNet(dim, item_tokens, config.cross_layers)
    if config.kind == "dnn":
        return DNN(dim, item_tokens, config.hidden, config.residual)
    return InnerPDNN(dim, item_tokens, config.hidden, config.residual)
