"""Repeat codes: users come back to items of their history, and each of these is a code whose only posting is the item itself.

Its score is weight · (rate(c) / mean rate)^power; validation chooses both. The repeat rate of item c is the share of its training
users who have it more than once, damped for rare items (the repeat customer probability of Bhagat et al., "Buy It Again", KDD
2018): milk is bought again, a present is not. A user's boost on a code falls with how long ago each of its events was, and
adds up over them: a count of the user's own items, which for repeat purchases is hard to beat.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from sparcode_es.codes import REPEAT_HEAD, ItemCodes
from sparcode_es.models.memory import GAMMA


class Repeat(nn.Module):
    """The repeat codes' rates, weight and power; without a weight until it is set: there are none."""

    rates: Tensor
    """float32 [I], rate(c) / mean rate"""
    weight: Tensor
    power: Tensor

    def __init__(self, num_items: int) -> None:
        super().__init__()
        self.register_buffer("rates", torch.ones(num_items))
        self.register_buffer("weight", torch.zeros((), dtype=torch.float64))
        self.register_buffer("power", torch.zeros((), dtype=torch.float64))

    def fit(self, users: np.ndarray, again: np.ndarray) -> None:
        """users: how many users have each item, int64 [I]; again: how many have it more than once, int64 [I]."""
        mean = again.sum() / max(users.sum(), 1)
        rates = (again + GAMMA * mean) / (users + GAMMA) / mean if mean else np.ones(len(users))
        self.rates = torch.from_numpy(rates.astype(np.float32))

    @property
    def differs(self) -> bool:
        """Whether some items are come back to more than others."""
        return bool((self.rates != self.rates[0]).any())

    @property
    def active(self) -> bool:
        """Whether there are repeat codes: a weight above 0."""
        return float(self.weight) > 0

    def scores(self, weight: float | None = None) -> np.ndarray:
        """The score of each item's code, float32 [I], all alike where the power is 0; weight: instead of its own."""
        weight = float(self.weight) if weight is None else weight
        found: np.ndarray = np.float32(weight) * self.rates.cpu().numpy() ** np.float32(float(self.power))
        return found

    def as_item_codes(self) -> ItemCodes:
        """The repeat codes' scores."""
        items = np.arange(len(self.rates), dtype=np.uint32)
        return ItemCodes(np.arange(len(items) + 1, dtype=np.int64), items, self.scores(), (REPEAT_HEAD,))

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *args: object) -> None:
        """ValueError for what is no weight, power or rate."""
        super()._load_from_state_dict(state_dict, prefix, *args)
        for name in ("weight", "power", "rates"):
            values = getattr(self, name)
            if not (torch.isfinite(values) & (values >= 0)).all():
                raise ValueError(f"{prefix}{name} holds what is not a number of 0 and above")
