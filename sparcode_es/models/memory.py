"""Memory: which items followed a code among the training pairs, and how much more often than chance.

A table of (code, item) scores can remember pairs that no dot product can express. The lift of (code k, item c) is
log(1 + β · n(k, c) / √((n(k) + γ)(n(c) + γ))): n(k, c) sums the boosts of code k over the training histories that were followed
by item c, n(k) over all training histories, and n(c) is how often c followed. It is the cosine of the two columns of a
co-occurrence table, damped for rare codes and items; a weight that validation chooses scales it.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn

from sparcode_es.codes import ItemCodes

BETA, GAMMA = 20.0, 5.0


class Memory(nn.Module):
    """The lifts as a sparse table in CSR form (rows: codes), and their weight. Empty until `fit`."""

    offsets: Tensor
    items: Tensor
    lifts: Tensor
    weight: Tensor

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.register_buffer("offsets", torch.zeros(rows + 1, dtype=torch.int64))
        self.register_buffer("items", torch.zeros(0, dtype=torch.int32))
        self.register_buffer("lifts", torch.zeros(0))
        self.register_buffer("weight", torch.zeros(()))

    def fit(self, counts: sparse.csr_matrix, of_item: np.ndarray) -> None:
        """counts: n(k, c), [rows, num_items]; of_item: n(c), [num_items]."""
        counts.sum_duplicates()
        row = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))
        of_row = np.asarray(counts.sum(axis=1)).ravel()
        chance = np.sqrt((of_row[row] + GAMMA) * (of_item[counts.indices] + GAMMA))
        self.offsets = torch.from_numpy(counts.indptr.astype(np.int64))
        self.items = torch.from_numpy(counts.indices.astype(np.int32))
        self.lifts = torch.from_numpy(np.log1p(BETA * counts.data / chance).astype(np.float32))

    @property
    def active(self) -> bool:
        """Whether there is anything to remember: a weight above 0."""
        return float(self.weight) > 0

    def as_item_codes(self) -> ItemCodes:
        """The weighted lifts, where the rows are items."""
        weighted = (self.weight * self.lifts).cpu().numpy()
        return ItemCodes(self.offsets.cpu().numpy(), self.items.cpu().numpy().astype(np.uint32), weighted)

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
