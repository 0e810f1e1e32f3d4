"""Repeat codes: users come back to items of their history, and each of these is a code whose only posting is the item itself.

All have one score, which validation chooses; a user's boost on one falls with how long ago each of its events was, and adds up
over them. So among items met before, the often and the lately met come first (a count of the user's own items, which for
repeat purchases is hard to beat), and the score says how much that tells beside all else.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from sparcode_es.codes import REPEAT_HEAD, ItemCodes


class Repeat(nn.Module):
    """The score of the repeat codes; 0 until it is set: there are none."""

    weight: Tensor

    def __init__(self, num_items: int) -> None:
        super().__init__()
        self.num_items = num_items
        self.register_buffer("weight", torch.zeros((), dtype=torch.float64))

    @property
    def active(self) -> bool:
        """Whether there are repeat codes: a weight above 0."""
        return float(self.weight) > 0

    def as_item_codes(self) -> ItemCodes:
        """The repeat codes' scores."""
        scores = np.full(self.num_items, float(self.weight), dtype=np.float32)
        offsets = np.arange(self.num_items + 1, dtype=np.int64)
        return ItemCodes(offsets, np.arange(self.num_items, dtype=np.uint32), scores, (REPEAT_HEAD,))

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *args: object) -> None:
        """ValueError for a weight that is none."""
        super()._load_from_state_dict(state_dict, prefix, *args)
        if not 0 <= float(self.weight) < math.inf:
            raise ValueError(f"{prefix}weight is {float(self.weight)}")
