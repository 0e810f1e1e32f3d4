"""Memory: how much more often an item follows a code among the training pairs than the item's count lets expect.

A table of (code, item) scores can remember pairs that no dot product can express. The lift of (code k, item c) is
log(1 + β · count(k, c) / (count(c) + γ)), where count(k, c) sums the boosts of code k over the training histories that were
followed by item c, and count(c) is how often c was a target. It is added to S with a weight that validation chooses.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

BETA, GAMMA = 20.0, 5.0


class Memory(nn.Module):
    """The lifts as a sparse table in CSR form (rows: codes), and their weight. Empty until `fit`."""

    offsets: Tensor
    items: Tensor
    lifts: Tensor
    weight: Tensor

    def __init__(self, rows: int, num_items: int) -> None:
        super().__init__()
        self.num_items = num_items
        self.register_buffer("offsets", torch.zeros(rows + 1, dtype=torch.int64))
        self.register_buffer("items", torch.zeros(0, dtype=torch.int32))
        self.register_buffer("lifts", torch.zeros(0))
        self.register_buffer("weight", torch.zeros(()))

    def fit(self, codes: np.ndarray, boosts: np.ndarray, targets: np.ndarray) -> None:
        """codes: int64 [P, R] (rows of the table), boosts: [P, R], targets: item numbers [P] that followed."""
        rows = len(self.offsets) - 1
        kept = boosts > 0
        pairs = (codes.astype(np.int64) * self.num_items + targets.astype(np.int64)[:, None])[kept]
        unique, inverse = np.unique(pairs, return_inverse=True)
        count = np.bincount(inverse, weights=boosts[kept])
        item = unique % self.num_items
        popularity = np.bincount(targets, minlength=self.num_items)
        lift = np.log1p(BETA * count / (popularity[item] + GAMMA))
        row_counts = np.bincount(unique // self.num_items, minlength=rows)
        self.offsets = torch.from_numpy(np.concatenate([[0], np.cumsum(row_counts)]).astype(np.int64))
        self.items = torch.from_numpy(item.astype(np.int32))
        self.lifts = torch.from_numpy(lift.astype(np.float32))

    def forward(self, rows: np.ndarray, start: int, stop: int) -> Tensor:
        """The lifts of some codes for a range of items, unweighted and dense, [len(rows), stop - start]."""
        block = torch.zeros(len(rows), stop - start)
        for i, row in enumerate(rows):
            begin, end = int(self.offsets[row]), int(self.offsets[row + 1])
            items = self.items[begin:end].long()
            low, high = (int(torch.searchsorted(items, bound)) for bound in (start, stop))
            block[i, items[low:high] - start] = self.lifts[begin + low : begin + high]
        return block

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *args: object) -> None:
        """Take the saved table's size before loading: it depends on the training pairs."""
        for name in ("items", "lifts"):
            saved = state_dict.get(prefix + name)
            if saved is not None:
                setattr(self, name, torch.zeros_like(saved))
        super()._load_from_state_dict(state_dict, prefix, *args)
