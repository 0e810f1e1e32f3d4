"""Feed-forward nets over the features and the latent of one side, users or items."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sparcode_es.data.manifest import Side
from sparcode_es.models.features import FeatureEncoder, FeatureSpec

Order = Literal["norm_tanh", "relu_norm"]


class BatchNorm(nn.BatchNorm1d):
    """Batch normalisation that takes its running statistics where a training batch has a single row."""

    def forward(self, input: Tensor) -> Tensor:
        """input: [n, h] → [n, h]."""
        if self.training and len(input) == 1:
            return F.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(input)


class SideNet(nn.Module):
    """Rows of one side → [n, out]. The first layer is linear in the features and the latent, joined; where there are both,
    each part is normalised over the batch first, because features come in any scale and would drown or be drowned.

    order: between two linear layers, batch normalisation then tanh (DropoutNet), or ReLU then batch normalisation
    (DeezerNet). latent: the latent's size, 0 for a net without. User features stay in the data folder (see
    `FeatureTables`).
    """

    def __init__(
        self,
        side: Side,
        specs: Sequence[FeatureSpec],
        rows: int,
        latent: int,
        hidden: Sequence[int],
        out: int,
        order: Order,
    ) -> None:
        super().__init__()
        widths = [*hidden, out]
        self.content = FeatureEncoder(side, specs, rows, widths[0], persistent=side == "item")
        self.latent = nn.Linear(latent, widths[0], bias=False) if latent else None
        self.bias = nn.Parameter(torch.zeros(widths[0]))
        both = bool(hidden and latent and self.content.specs)
        self.content_norm, self.latent_norm = (BatchNorm(widths[0]) if both else nn.Identity() for _ in range(2))
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            norm = BatchNorm(before)
            layers += [norm, nn.Tanh()] if order == "norm_tanh" else [nn.ReLU(), norm]
            linear = nn.Linear(before, after)
            if order == "norm_tanh":
                # As published; wider ones make the product of two nets start far from the targets.
                nn.init.trunc_normal_(linear.weight, std=0.01, a=-0.02, b=0.02)
            layers.append(linear)
        self.rest = nn.Sequential(*layers)

    def forward(self, rows: Tensor, latents: Tensor | None = None) -> Tensor:
        """rows: int64 [n], -1 for unknown; latents: [n, d] for a net that has them → [n, out]."""
        first = self.content_norm(self.content(rows)) + self.bias
        if self.latent is not None and latents is not None:
            first = first + self.latent_norm(self.latent(latents))
        out: Tensor = self.rest(first)
        return out

    @torch.inference_mode()
    def evaluate(self, rows: Tensor, latents: Tensor | None = None, block: int = 8192) -> Tensor:
        """The same in blocks, without dropout or gradients, on the CPU."""
        was_training, device = self.training, self.bias.device
        self.eval()
        parts = rows.split(block)
        given = [None] * len(parts) if latents is None else latents.to(device).split(block)
        found = [self(part.to(device), some).float().cpu() for part, some in zip(parts, given, strict=True)]
        self.train(was_training)
        return torch.cat(found)
