"""Dropout whose mask is eight random bytes a draw on the CPU, where torch's own draws one number an element."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LEVELS = 256


def dropout(x: Tensor, share: float, training: bool = True) -> Tensor:
    """Zeros for a random share of x, to the nearest 1/256, and the rest scaled so that the mean stays. [...] → [...]."""
    dropped = round(share * LEVELS)
    if not training or not dropped:
        return x
    if x.device.type != "cpu" or dropped == LEVELS:
        return F.dropout(x, share, training)
    draws = torch.empty(-(-x.numel() // 8), dtype=torch.int64).random_(-(2**63), None)
    kept = (draws.view(torch.uint8)[: x.numel()] >= dropped).view(x.shape)
    return x * kept.to(x.dtype).mul_(LEVELS / (LEVELS - dropped))


class Dropout(nn.Module):
    """`dropout` while the module trains."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        return dropout(x, self.share, self.training)
