"""Multi-interest capsules: a history → K interests by dynamic routing (Sabour et al. 2017; MIND, Li et al. 2019)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sparcode_es.config import TokenizerConfig
from sparcode_es.models.dropout import Dropout


def squash(x: Tensor) -> Tensor:
    """x · ‖x‖ / (1 + ‖x‖²): the direction kept, the length below 1. x: [..., D]."""
    squared = x.square().sum(-1, keepdim=True)
    return x * squared.clamp(min=1e-12).sqrt() / (1 + squared)


class CapsuleEncoder(nn.Module):
    """B2I dynamic routing, causal: the interests at position t come from items 0…t alone.

    One bilinear map is shared by all pairs of item and interest, as in MIND, so that histories of any length can be routed;
    the routing logits begin at fixed random values, or all interests would stay equal.
    """

    initial_logits: Tensor

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.interests, self.iterations = config.tokens, config.routing_iterations
        self.dropout = Dropout(config.dropout)
        self.bilinear = nn.Linear(config.dim, config.dim, bias=False)
        self.positions = nn.Embedding(config.max_length, config.dim)
        nn.init.normal_(self.positions.weight, std=0.02)
        self.register_buffer("initial_logits", torch.randn(config.max_length, config.tokens))
        self.mlp = nn.Sequential(
            nn.Linear(config.dim, 4 * config.dim), nn.ReLU(), nn.Linear(4 * config.dim, config.dim)
        )

    def forward(self, x: Tensor) -> Tensor:
        """x: item embeddings [B, L, D] → interests [B, L, K, D], K = K_u."""
        B, L, D = x.shape
        votes = self.bilinear(self.dropout(x + self.positions.weight[:L]))
        causal = torch.ones(L, L, device=x.device, dtype=torch.bool).tril()
        logits = self.initial_logits[:L].expand(B, L, L, self.interests)  # [B, position, item, interest]
        still = votes.detach()
        for iteration in range(self.iterations):
            last = iteration == self.iterations - 1
            weights = torch.softmax(logits, dim=-1) * causal.view(1, L, L, 1)
            interests = squash(torch.einsum("blik,bid->blkd", weights, votes if last else still))
            if not last:
                logits = logits + torch.einsum("blkd,bid->blik", interests, still)
        mixed: Tensor = interests + self.mlp(self.dropout(interests))
        return F.layer_norm(mixed, (D,))
