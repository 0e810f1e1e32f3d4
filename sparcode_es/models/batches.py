"""Batches of histories: windows of the training sequences, padded on the right, in an order that (seed, epoch) fixes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

POOL = 32
"""Batches whose windows are sorted by length together, so that little padding is needed."""


@dataclass(frozen=True)
class Batch:
    """histories: int64 [B, L]; positions: flat indices into B·L of the P trained positions; targets: the item that follows
    each, int64 [P]; users: int64 [B]."""

    histories: Tensor
    positions: Tensor
    targets: Tensor
    users: Tensor

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""
        return Batch(
            *(t.to(device, non_blocking=True) for t in (self.histories, self.positions, self.targets, self.users))
        )

    def some(self, each: int) -> Batch:
        """The same histories with at most `each` of their positions, drawn at random."""
        window = self.positions // self.histories.shape[1]
        order = torch.argsort(window + torch.rand(len(window), device=window.device, dtype=torch.float64))
        lengths = torch.bincount(window, minlength=len(self.histories))
        starts = lengths.cumsum(0) - lengths
        rank = torch.arange(len(window), device=window.device) - starts[window[order]]
        kept = order[rank < each]
        return Batch(self.histories, self.positions[kept], self.targets[kept], self.users)


class Windows:
    """Windows of at most `max_length` + 1 events over sequences in CSR form.

    A long sequence is cut into windows that overlap by half; each event but the first is a target exactly once.
    """

    def __init__(self, offsets: np.ndarray, items: np.ndarray, users: np.ndarray, max_length: int) -> None:
        self.items, self.max_length = items, max_length
        rows = [
            (int(user), begin, end, first)
            for user, low, high in zip(users, offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)
            for begin, end, first in _cut(low, high, max_length)
        ]
        table = np.array(rows, dtype=np.int64).reshape(-1, 4)
        self.users, self.begins, self.ends, self.firsts = table.T

    def __len__(self) -> int:
        return len(self.users)

    @property
    def num_positions(self) -> int:
        """How many (history, next item) pairs there are."""
        return int((self.ends - self.firsts).sum())

    def batches(self, batch_size: int, generator: np.random.Generator | None) -> Iterator[Batch]:
        """All windows once; shuffled with a generator, by length in stored order without one."""
        if generator is None:
            yield from (self.collate(rows) for rows in _chunks(np.arange(len(self)), batch_size))
            return
        order = generator.permutation(len(self))
        for pool in _chunks(order, batch_size * POOL):
            by_length = pool[np.argsort((self.ends - self.begins)[pool], kind="stable")]
            parts = list(_chunks(by_length, batch_size))
            for i in generator.permutation(len(parts)):
                yield self.collate(parts[i])

    def collate(self, rows: np.ndarray) -> Batch:
        """The batch of some windows. The last event of a window is only a target."""
        begins, ends, firsts = self.begins[rows], self.ends[rows], self.firsts[rows]
        columns = np.arange((ends - begins).max() - 1)
        index = begins[:, None] + columns
        trained = (index + 1 >= firsts[:, None]) & (index + 1 < ends[:, None])
        histories = self.items[np.minimum(index, ends[:, None] - 1)].astype(np.int64)
        return Batch(
            torch.from_numpy(histories),
            torch.from_numpy(np.flatnonzero(trained)),
            torch.from_numpy(self.items[(index + 1)[trained]].astype(np.int64)),
            torch.from_numpy(self.users[rows]),
        )


def _cut(low: int, high: int, max_length: int) -> Iterator[tuple[int, int, int]]:
    """(begin, end, first target) of the windows over events low…high-1."""
    first = low + 1
    begin = low
    while first < high:
        end = min(begin + max_length + 1, high)
        yield begin, end, first
        first = end
        begin = max(low, end - max_length // 2 - 1)


def _chunks(rows: np.ndarray, size: int) -> Iterator[np.ndarray]:
    return (rows[i : i + size] for i in range(0, len(rows), size))
