"""Segments of users by k-means on their latents, and what is popular in each (Briand et al. 2021)."""

from __future__ import annotations

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn

from sparcode_es.data.dataset import Sequences
from sparcode_es.models.quantizer import kmeans, squared_distances


class Segments(nn.Module):
    """centres [S, d]; sizes [S], users of each; items int64 [S, n], the most popular first; shares [S, n] of the segment's
    events, 0 behind the last item."""

    centres: Tensor
    sizes: Tensor
    items: Tensor
    shares: Tensor

    def __init__(self, segments: int, most: int, dim: int, num_items: int) -> None:
        super().__init__()
        self.num_items = num_items
        self.register_buffer("centres", torch.zeros(segments, dim))
        self.register_buffer("sizes", torch.zeros(segments))
        self.register_buffer("items", torch.zeros(segments, most, dtype=torch.int64))
        self.register_buffer("shares", torch.zeros(segments, most))

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *args: object) -> None:
        """ValueError for items that there are not."""
        saved = state_dict.get(f"{prefix}items")
        if saved is not None and saved.numel() and not 0 <= int(saved.min()) <= int(saved.max()) < self.num_items:
            raise ValueError(f"{prefix}items names items {int(saved.min())} to {int(saved.max())} of {self.num_items}")
        super()._load_from_state_dict(state_dict, prefix, *args)

    def fit(self, latents: Tensor, sequences: Sequences, iterations: int) -> None:
        """latents: of the n users of the sequences, [n, d]. With fewer users than segments, some stay empty."""
        found = min(len(self.centres), len(latents))
        self.centres[:found] = kmeans(latents, found, iterations, spherical=False)[0]
        self.sizes.fill_(1)
        self.sizes[found:] = 0
        assigned = self.nearest(latents)
        self.sizes.copy_(torch.bincount(assigned, minlength=len(self.centres)))
        self._count(assigned.cpu().numpy(), sequences)

    def nearest(self, latents: Tensor, block: int = 8192) -> Tensor:
        """The segment whose centre is nearest, int64 [n]; an empty one is never it."""
        empty = torch.where(self.sizes == 0, torch.inf, 0.0)
        return torch.cat([(squared_distances(part, self.centres) + empty).argmin(-1) for part in latents.split(block)])

    def _count(self, assigned: np.ndarray, sequences: Sequences) -> None:
        """Fill `items` and `shares` from the events of each segment's users."""
        lengths: np.ndarray = np.diff(sequences.offsets.astype(np.int64))
        pairs = (np.repeat(assigned, lengths), sequences.items.astype(np.int64))
        shape = (len(self.centres), self.num_items)
        counts = sparse.coo_matrix((np.ones(len(pairs[0]), dtype=np.float32), pairs), shape=shape).tocsr()
        for segment in range(len(self.centres)):
            row = counts[segment]
            order = np.argsort(-row.data, kind="stable")[: self.items.shape[1]]
            self.items[segment, : len(order)] = torch.from_numpy(row.indices[order].astype(np.int64))
            self.shares[segment, : len(order)] = torch.from_numpy(row.data[order] / row.data.sum())

    def scores(self, segments: Tensor) -> np.ndarray:
        """Every item's share in some segments int64 [n] → [n, I]; -inf for an item that they do not have."""
        items, shares = self.items[segments].cpu(), self.shares[segments].cpu()
        found = torch.full((len(segments), self.num_items + 1), -torch.inf)
        # What stands behind the last item goes into a column of its own.
        found.scatter_(1, torch.where(shares > 0, items, self.num_items), shares)
        return found[:, :-1].numpy()
