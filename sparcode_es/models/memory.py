"""Memory: which items followed a code among the training pairs, and how often, beside how often both occur.

A table of (code, item) scores can remember pairs that no dot product can express. The lift of (code k, item c) is
log(1 + β · n(k, c) / √((n(k) + γ)(n(c) + γ))): n(k, c) sums what code k weighs in the training histories that were followed
by item c (a learned code its boost, an item's code what `item_codes.window_decay` gives it), n(k) is the sum of its row, and
n(c) is how often c occurs. Inside the logarithm stands the cosine of two columns of a co-occurrence table (Ochiai's
coefficient), damped for rare codes and items, and not the ratio to chance that association rules call lift; a weight that
validation chooses scales it.

Item codes may have ridge weights beside their lifts (`sparcode_es.training.ridge`): what an item tells of another that the items
around it do not tell already. A pair then counts (1 - share) · lift + share · ridge.

Later events can be folded in: n(k, c) grows, n(k), n(c) and ridge weights stay what they were in training. A lift then depends on
its own count alone: pairs without new events keep theirs, and the order in which events were folded in makes no difference. Where
the folded events are no longer few beside those of training, train again.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn

from sparcode_es.codes import ItemCodes

BETA, GAMMA = 20.0, 5.0
BLOCK = 1 << 20
"""Lifts computed at once."""


class Memory(nn.Module):
    """The counts of the training pairs as a sparse table in CSR form (rows: codes), their weight, and the lifts, which
    follow from them. Empty until `fit`, without ridge weights until `mix`.

    The state has the counts (and ridge weights) in place of the lifts, since they can grow. What is folded in is no part of the
    state: a checkpoint and its hash stay what training made.
    """

    offsets: Tensor
    items: Tensor
    counts: Tensor
    of_row: Tensor
    of_item: Tensor
    weight: Tensor
    ridge: Tensor
    """float32, one for each of the counts, with the mean of their lifts; empty where `share` is 0."""
    share: Tensor
    lifts: sparse.csr_matrix
    """float32 [rows, num_items]; with the ridge weights' share"""

    def __init__(self, rows: int, num_items: int) -> None:
        super().__init__()
        self.num_items = num_items
        self.register_buffer("offsets", torch.zeros(rows + 1, dtype=torch.int64))
        self.register_buffer("items", torch.zeros(0, dtype=torch.int32))
        self.register_buffer("counts", torch.zeros(0))
        self.register_buffer("of_row", torch.zeros(rows, dtype=torch.float64))
        self.register_buffer("of_item", torch.zeros(0, dtype=torch.int64))
        self.register_buffer("weight", torch.zeros(()))
        self.register_buffer("ridge", torch.zeros(0))
        self.register_buffer("share", torch.zeros((), dtype=torch.float64))
        self.lifts = sparse.csr_matrix((rows, 0), dtype=np.float32)

    def fit(self, counts: sparse.csr_matrix, of_item: np.ndarray, of_row: np.ndarray | None = None) -> None:
        """counts: n(k, c), [rows, num_items]; of_item: n(c), [num_items]; of_row: n(k), [rows], None for the sums of counts."""
        counts.sum_duplicates()
        sums = np.asarray(counts.sum(axis=1)).ravel() if of_row is None else of_row
        self.of_row = torch.from_numpy(sums.astype(np.float64))
        self.offsets = torch.from_numpy(counts.indptr.astype(np.int64))
        self.items = torch.from_numpy(counts.indices.astype(np.int32))
        self.counts = torch.from_numpy(counts.data.astype(np.float32))
        self.of_item = torch.from_numpy(of_item.astype(np.int64))
        self.mix(np.zeros(0, dtype=np.float32), 0.0)

    def mix(self, ridge: np.ndarray, share: float) -> None:
        """Give ridge weights, float32, one for each of the counts in their order, this share (0 ≤ share < 1) beside the lifts."""
        self.ridge = torch.from_numpy(ridge if share else ridge[:0])
        self.share.fill_(share)
        self.fold(None)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and items."""
        return len(self.offsets) - 1, len(self.of_item)

    def trained(self) -> sparse.csr_matrix:
        """n(k, c) of the training pairs, float32 [rows, num_items]."""
        return counts_table(self.offsets.cpu().numpy(), self.items.cpu().numpy(), self.counts.cpu().numpy(), self.shape)

    def fold(self, added: sparse.csr_matrix | None) -> None:
        """Make the lifts those of the training pairs and of `added`, further counts n(k, c) [rows, num_items]."""
        trained, share = self.trained(), float(self.share)
        counts = trained if added is None else sparse.csr_matrix(trained + added)
        self.lifts = _lifts(counts, self.of_row.cpu().numpy(), self.of_item.cpu().numpy())
        if share:
            self.lifts.data *= np.float32(1 - share)
            ridge = np.float32(share) * self.ridge.cpu().numpy()
            if added is None:
                self.lifts.data += ridge
            else:
                beside = sparse.csr_matrix((ridge, trained.indices, trained.indptr), shape=self.shape)
                self.lifts = sparse.csr_matrix(self.lifts + beside)

    @property
    def active(self) -> bool:
        """Whether there is anything to remember: a weight above 0."""
        return float(self.weight) > 0

    def as_item_codes(self) -> ItemCodes:
        """The weighted lifts, where the rows are items."""
        lifts = self.lifts
        weighted = np.float32(float(self.weight)) * lifts.data
        return ItemCodes(lifts.indptr.astype(np.int64), lifts.indices.astype(np.uint32), weighted)

    def forward(self, rows: np.ndarray, start: int, stop: int) -> Tensor:
        """The lifts of some codes for a range of items, unweighted and dense, [len(rows), stop - start]."""
        return torch.from_numpy(self.lifts[rows][:, start:stop].toarray())

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *args: object) -> None:
        """Take the saved table's size before loading: it depends on the training pairs. ValueError for one that is no table."""
        for name in ("items", "counts", "of_item", "ridge"):
            saved = state_dict.get(prefix + name)
            if saved is not None:
                setattr(self, name, torch.zeros_like(saved))
        super()._load_from_state_dict(state_dict, prefix, *args)
        if len(self.of_item) not in (0, self.num_items):
            raise ValueError(f"{prefix}of_item is of {len(self.of_item)} items, not {self.num_items}")
        if not 0 <= float(self.share) < 1 or len(self.ridge) != (len(self.counts) if self.share else 0):
            raise ValueError(
                f"{prefix}ridge has {len(self.ridge)} weights for {len(self.counts)} counts, share {float(self.share)}"
            )
        self.fold(None)


def counts_table(
    offsets: np.ndarray, items: np.ndarray, counts: np.ndarray, shape: tuple[int, int]
) -> sparse.csr_matrix:
    """Counts that were stored in CSR form, [rows, num_items]. scipy reads wherever the numbers point, so those that point outside
    are a ValueError."""
    if offsets.shape != (shape[0] + 1,) or items.ndim != 1 or items.shape != counts.shape:
        raise ValueError(f"the table of counts has parts of {offsets.shape}, {items.shape} and {counts.shape}")
    if offsets[0] != 0 or offsets[-1] != len(items) or (offsets[1:] < offsets[:-1]).any():
        raise ValueError(f"the offsets of the table of counts do not rise from 0 to {len(items)}")
    if len(items) and not 0 <= int(items.min()) <= int(items.max()) < shape[1]:
        raise ValueError(f"the table of counts names items {items.min()} to {items.max()} of {shape[1]}")
    return sparse.csr_matrix((counts, items, offsets), shape=shape)


def _lifts(counts: sparse.csr_matrix, of_row: np.ndarray, of_item: np.ndarray) -> sparse.csr_matrix:
    """log(1 + β · n(k, c) / √((n(k) + γ)(n(c) + γ))): n(k, c) [rows, I], n(k) [rows], n(c) [I] → float32 [rows, I]; in float64, a
    block at a time."""
    lifts = np.empty(counts.nnz, dtype=np.float32)
    for start in range(0, counts.nnz, BLOCK):
        entries = np.arange(start, min(start + BLOCK, counts.nnz))
        row = np.searchsorted(counts.indptr, entries, side="right") - 1
        both = np.sqrt((of_row[row] + GAMMA) * (of_item[counts.indices[entries]] + GAMMA))
        lifts[entries] = np.log1p(BETA * counts.data[entries].astype(np.float64) / both)
    return sparse.csr_matrix((lifts, counts.indices, counts.indptr), shape=counts.shape)
