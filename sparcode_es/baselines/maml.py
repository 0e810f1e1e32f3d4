"""Model-agnostic meta-learning (Finn et al. 2017): gradient steps on a task's support set that are themselves differentiable."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Weights = Sequence[Tensor]


def adapted(
    weights: Weights, loss: Callable[[Weights], Tensor], steps: int, rate: float, differentiable: bool
) -> list[Tensor]:
    """θ ← θ - rate · ∇loss(θ), `steps` times. loss: the support sets' loss, a scalar.

    Weights with a leading axis of tasks adapt each to its own, where the loss is a sum over tasks. `differentiable`: the
    result has second-order gradients to the first θ.
    """
    current = list(weights)
    with torch.enable_grad():
        for _ in range(steps):
            slopes = torch.autograd.grad(loss(current), current, create_graph=differentiable)
            current = [weight - rate * slope for weight, slope in zip(current, slopes, strict=True)]
    return current


class Decision(nn.Module):
    """MeLU's decision layers: an MLP on (user embedding, item embedding) → logit, with weights that may be one task's own."""

    def __init__(self, dim: int, hidden: Sequence[int]) -> None:
        super().__init__()
        sizes = [2 * dim, *hidden, 1]
        self.dim = dim
        self.layers = nn.ModuleList(nn.Linear(before, after) for before, after in itertools.pairwise(sizes))

    def last(self, layers: int) -> list[Tensor]:
        """Weights and biases of the last layers, in order: what adapts."""
        return list(self.layers[-layers:].parameters())

    def forward(self, users: Tensor, items: Tensor, tail: Weights = ()) -> Tensor:
        """users: [B, D], items: [B, n, D] or [n, D] for all → logits [B, n].

        tail: weights and biases that stand for those of the last layers, with or without a leading axis B.
        """
        own = self.last(len(self.layers))
        tensors = [*own[: len(own) - len(tail)], *tail]
        weight, bias = tensors[0], tensors[1]
        # The first layer, on the two parts that it would join.
        x = (users.unsqueeze(-2) @ weight[..., : self.dim].mT) + items @ weight[..., self.dim :].mT + bias.unsqueeze(-2)
        for weight, bias in zip(tensors[2::2], tensors[3::2], strict=True):
            x = F.relu(x) @ weight.mT + bias.unsqueeze(-2)
        return x.squeeze(-1)
