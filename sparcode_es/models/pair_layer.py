"""One hidden layer over (code, item) pairs, forward and backward in tiles that stay in the cache.

Autograd would keep every pair's hidden units, Q · n · h numbers, and pass over them a dozen times. Here they live for one tile
of items; the backward pass makes them again, which costs a third more products and saves most of the memory's traffic.

Q codes, n items, h hidden units, D.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

TILE_NUMBERS = {"cpu": 1 << 19, "cuda": 1 << 28}
"""Hidden units of a tile: 2 MB on a CPU, 1 GB on a GPU."""


def pair_layer(codes: Tensor, gates: Tensor, bias: Tensor, weight: Tensor) -> Tensor:
    """`PairLayer` in the type of its weights, whatever autocast would make of its products: backward needs one type."""
    with torch.autocast(codes.device.type, enabled=False):
        scores: Tensor = PairLayer.apply(codes.to(bias.dtype), gates.to(bias.dtype), bias, weight)
        return scores


class PairLayer(torch.autograd.Function):
    """S_qi = Σ_u w_u · ReLU(<c_q, g_iu> + b_u): codes c [Q, D], gates g [n, h, D], b [h], w [h] → S [Q, n]."""

    @staticmethod
    def forward(ctx: Any, codes: Tensor, gates: Tensor, bias: Tensor, weight: Tensor) -> Tensor:
        """See the class."""
        ctx.save_for_backward(codes, gates, bias, weight)
        parts = [_hidden(codes, tile, bias) @ weight for tile in gates.split(_items(codes, gates))]
        return torch.cat(parts, dim=1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """dS [Q, n] → the gradients of codes, gates, b and w."""
        codes, gates, bias, weight = ctx.saved_tensors
        to_codes = torch.zeros_like(codes)
        to_gates = torch.empty_like(gates, memory_format=torch.contiguous_format)
        to_bias, to_weight = torch.zeros_like(bias), torch.zeros_like(weight)
        size = _items(codes, gates)
        tiles = zip(gates.split(size), to_gates.split(size), gradients[0].split(size, dim=1), strict=True)
        for tile, to_tile, to_scores in tiles:
            hidden = _hidden(codes, tile, bias)
            spread = to_scores.reshape(-1, 1)
            to_weight += hidden.flatten(0, 1).T @ spread[:, 0]
            to_hidden = torch.where(hidden.flatten(0, 1) > 0, spread * weight, 0.0)
            to_bias += to_hidden.sum(0)
            flat = to_hidden.view(len(codes), -1)  # [Q, i · h]
            to_codes.addmm_(flat, tile.flatten(0, 1))
            torch.mm(flat.T, codes, out=to_tile.view(flat.shape[1], -1))
        return to_codes, to_gates, to_bias, to_weight


def _items(codes: Tensor, gates: Tensor) -> int:
    """How many items a tile has."""
    numbers = TILE_NUMBERS.get(codes.device.type, TILE_NUMBERS["cuda"])
    return max(1, numbers // max(1, len(codes) * gates.shape[1]))


def _hidden(codes: Tensor, gates: Tensor, bias: Tensor) -> Tensor:
    """ReLU of the layer for some items [i, h, D], [Q, i, h]."""
    i, h, _ = gates.shape
    return torch.mm(codes, gates.flatten(0, 1).T).view(len(codes), i, h).add_(bias).relu_()
