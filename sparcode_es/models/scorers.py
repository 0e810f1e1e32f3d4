"""Scorers: (code vector, item tokens) → S (Eq. 9 and §4.3.1's other interactions).

Q code vectors, n items, K_c tokens each, D. Every scorer maps codes [Q, D] and items [n, K_c, D] to S [Q, n], so that one
call scores a block of the (code, item) table. First layers that are linear in the code or the item are applied before the
pairs are formed: a pair costs only what is not additive.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sparcode_es.config import ScorerConfig
from sparcode_es.models.pair_layer import pair_layer
from sparcode_es.models.tokenizers import ItemTokens

CROSSED_PAIRS = 65_536
"""(code, item) pairs that CrossNet forms at once: each holds (1 + K_c) · D numbers a layer."""


class DotProduct(nn.Module):
    """S = Σ_j <T̃, T_j>."""

    def forward(self, codes: Tensor, items: Tensor) -> Tensor:
        return codes @ items.sum(1).T


class MaxSim(nn.Module):
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


class DNN(nn.Module):
    """S = MLP([T̃; T_1; …; T_Kc]). The first layer is a sum of one part for the code and one for the item."""

    def __init__(self, dim: int, item_tokens: int, hidden: tuple[int, ...], residual: bool = True) -> None:
        super().__init__()
        self.code, self.item = nn.Linear(dim, hidden[0]), nn.Linear(item_tokens * dim, hidden[0], bias=False)
        self.head = Head(hidden, residual)

    def forward(self, codes: Tensor, items: Tensor) -> Tensor:
        scores: Tensor = self.head(self.code(codes).unsqueeze(1) + self.item(items.flatten(1)))
        return scores


class InnerPDNN(nn.Module):
    """S = MLP([T̃ ⊙ T_1; …; T̃ ⊙ T_Kc]) (Eq. 9).

    The first layer is bilinear: hidden unit h is <T̃, g_h> with g_h = Σ_j W_hj ⊙ T_j, one matrix an item.
    """

    def __init__(self, dim: int, item_tokens: int, hidden: tuple[int, ...], residual: bool = True) -> None:
        super().__init__()
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


class CrossNet(nn.Module):
    """S = w · CrossNet([T̃; T_1; …; T_Kc]), the cross layers of DCN V2 (Wang et al. 2021)."""

    def __init__(self, dim: int, item_tokens: int, layers: int) -> None:
        super().__init__()
        width = (1 + item_tokens) * dim
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))
        self.output = nn.Linear(width, 1)

    def forward(self, codes: Tensor, items: Tensor) -> Tensor:
        flat = items.flatten(1)
        return torch.cat([self._pairs(part, flat) for part in codes.split(max(1, CROSSED_PAIRS // len(flat)))])

    def _pairs(self, codes: Tensor, flat: Tensor) -> Tensor:
        """codes [q, D], joined item tokens [n, K_c · D] → [q, n]."""
        start = torch.cat(
            [codes.unsqueeze(1).expand(-1, len(flat), -1), flat.unsqueeze(0).expand(len(codes), -1, -1)], dim=-1
        )
        x = start
        for layer in self.layers:
            x = start * layer(x) + x
        scores: Tensor = self.output(x)
        return scores.squeeze(-1)


def scaled_scores(config: ScorerConfig, scorer: nn.Module, codes: Tensor, items: Tensor, scale: Tensor) -> Tensor:
    """S of Eq. 9: the scorer's, and with `residual` the scaled dot product of code and first item token; [Q, n]."""
    scores: Tensor = scorer(codes, items)
    if config.kind in ("dot", "maxsim"):
        return scores * scale
    return scores + scale * (codes @ items[:, 0].T) if config.residual else scores


def make_item_tokens(config: ScorerConfig, dim: int, item_tokens: int) -> ItemTokens:
    """The layers of K_c item tokens. Those of a dot product, which sums over them, begin at 1 / K_c: at the tower's scores."""
    return ItemTokens(dim, item_tokens, 1 / item_tokens if config.kind == "dot" else 1.0)


def make_scorer(config: ScorerConfig, dim: int, item_tokens: int) -> nn.Module:
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
