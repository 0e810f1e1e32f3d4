"""Batches of histories: windows of the training sequences, padded on the right, in an order that (seed, epoch) fixes.

Or of users alone, each with items to find, for models that read no history.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sparcode_es import csr

POOL = 32
"""Batches whose windows are sorted by length together, so that little padding is needed."""


@dataclass(frozen=True)
class Batch:
    """histories: int64 [B, L]; positions: flat indices into B·L of the T trained positions; targets: the items that follow
    them, int64 [P]; users: int64 [B]; rows: which of the T positions each target follows, int64 [P], or None where P = T and
    each position has one target."""

    histories: Tensor
    positions: Tensor
    targets: Tensor
    users: Tensor
    rows: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""
        parts = (self.histories, self.positions, self.targets, self.users, self.rows)
        return Batch(*(None if t is None else t.to(device, non_blocking=True) for t in parts))  # type: ignore[arg-type]

    def spread(self, scores: Tensor) -> Tensor:
        """A row a position, [T, …] → a row a target, [P, …]."""
        return scores if self.rows is None else scores[self.rows]

    def some(self, each: int) -> Batch:
        """The same histories with at most `each` of their targets, drawn at random."""
        window = self.positions // self.histories.shape[1] if self.rows is None else self.rows
        order = torch.argsort(window + torch.rand(len(window), device=window.device, dtype=torch.float64))
        lengths = torch.bincount(window, minlength=len(self.histories))
        starts = lengths.cumsum(0) - lengths
        rank = torch.arange(len(window), device=window.device) - starts[window[order]]
        kept = order[rank < each]
        if self.rows is None:
            return Batch(self.histories, self.positions[kept], self.targets[kept], self.users)
        return Batch(self.histories, self.positions, self.targets[kept], self.users, self.rows[kept])


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
        """How many positions are trained, each of them followed by one target."""
        return int((self.ends - self.firsts).sum())

    @property
    def num_targets(self) -> int:
        """How many (history, next item) pairs there are."""
        return self.num_positions

    def drawn(self, most: int, generator: np.random.Generator) -> np.ndarray:
        """Windows drawn at random, int64 [n], with `most` positions or a few more; where there are no more, all as stored."""
        if self.num_positions <= most:
            return np.arange(len(self))
        order = generator.permutation(len(self))
        return order[: np.searchsorted(np.cumsum((self.ends - self.firsts)[order]), most) + 1]

    def target_counts(self, num_items: int) -> np.ndarray:
        """How often each item is a target in an epoch, float64 [I]."""
        places = csr.ranges(self.firsts, self.ends - self.firsts)
        return np.bincount(self.items[places], minlength=num_items).astype(np.float64)

    def batches(self, batch_size: int, generator: np.random.Generator | None) -> Iterator[Batch]:
        """All windows once: with a generator shuffled, windows of like length together; without one in stored order."""
        if generator is None:
            yield from self.collated(np.arange(len(self)), batch_size)
            return
        order = generator.permutation(len(self))
        for pool in _chunks(order, batch_size * POOL):
            by_length = pool[np.argsort((self.ends - self.begins)[pool], kind="stable")]
            parts = list(_chunks(by_length, batch_size))
            for i in generator.permutation(len(parts)):
                yield self.collate(parts[i])

    def collated(self, rows: np.ndarray, batch_size: int) -> Iterator[Batch]:
        """Some windows in this order."""
        return (self.collate(part) for part in _chunks(rows, batch_size))

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


class Pairs:
    """Every (user, item) pair of sequences in CSR form; a batch is some users, each once, with their items as targets."""

    def __init__(self, offsets: np.ndarray, items: np.ndarray, users: np.ndarray, most: int) -> None:
        self.offsets, self.items, self.users, self.most = offsets.astype(np.int64), items, users.astype(np.int64), most

    def __len__(self) -> int:
        return len(self.users)

    @property
    def num_positions(self) -> int:
        """How many positions are trained: one a user."""
        return len(self)

    @property
    def num_targets(self) -> int:
        """How many pairs there are."""
        return len(self.items)

    def drawn(self, most: int, generator: np.random.Generator) -> np.ndarray:
        """Users drawn at random, int64 [most]; where there are no more, all as stored."""
        return np.arange(len(self)) if len(self) <= most else generator.permutation(len(self))[:most]

    def target_counts(self, num_items: int) -> np.ndarray:
        """How often each item is a target in a shuffled epoch on average, float64 [I]."""
        lengths = np.diff(self.offsets)
        share = np.repeat(np.minimum(1.0, self.most / np.maximum(lengths, 1)), lengths)
        return np.bincount(self.items, share, minlength=num_items)

    def batches(self, batch_size: int, generator: np.random.Generator | None) -> Iterator[Batch]:
        """All users once; shuffled and with at most `most` items of each with a generator, else all pairs as stored."""
        if generator is None:
            yield from self.collated(np.arange(len(self)), batch_size)
            return
        order = generator.permutation(len(self))
        yield from (self.collate(rows, generator) for rows in _chunks(order, batch_size))

    def collated(self, rows: np.ndarray, batch_size: int) -> Iterator[Batch]:
        """Some users in this order, with all their items."""
        return (self.collate(part) for part in _chunks(rows, batch_size))

    def collate(self, rows: np.ndarray, generator: np.random.Generator | None = None) -> Batch:
        """The batch of some users: histories of length 1 that nobody reads, and a position each."""
        lengths = np.diff(self.offsets)[rows]
        owners = np.repeat(np.arange(len(rows)), lengths)
        ranks, places = csr.ranges(0, lengths), csr.ranges(self.offsets[rows], lengths)
        if generator is not None:
            # Within each owner, `ranks` counts the pairs in a random order.
            shuffled = np.lexsort([generator.random(len(owners)), owners])
            owners, places = owners[ranks < self.most], places[shuffled][ranks < self.most]
        histories, positions = no_histories(len(rows))
        targets = torch.from_numpy(self.items[places].astype(np.int64))
        return Batch(histories, positions, targets, torch.from_numpy(self.users[rows]), torch.from_numpy(owners))


def no_histories(n: int) -> tuple[Tensor, Tensor]:
    """Histories [n, 1] that stand for none, and one position of each, for tokenizers that read no history."""
    return torch.zeros(n, 1, dtype=torch.int64), torch.arange(n)


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
