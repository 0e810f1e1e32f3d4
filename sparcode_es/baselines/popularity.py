"""Popularity: every user gets the items that most training events have."""

from __future__ import annotations

import numpy as np


class Popularity:
    """Counts of the training events, the same ranking for everybody."""

    def __init__(self, train_items: np.ndarray, num_items: int) -> None:
        self.counts = np.bincount(train_items, minlength=num_items).astype(np.float32)

    def scores(self, cases: np.ndarray) -> np.ndarray:
        """cases: any [B] → float32 [B, num_items]."""
        return np.broadcast_to(self.counts, (len(cases), len(self.counts)))
