"""Postings by code → postings by item, in blocks of items that fit in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sparcode_es import csr

BLOCK_POSTINGS = 1 << 23
"""Postings that are read, or held transposed, at a time: about 200 MB."""
BLOCK_SORTED = 1 << 20
"""Entries that are sorted at a time: about 40 MB, and what the processor's cache likes."""


@dataclass(frozen=True)
class ItemBlock:
    """The postings of items first … first + n - 1: item first + i has entries offsets[i]:offsets[i + 1], by code row."""

    first: int
    offsets: np.ndarray
    """int64 [n + 1]"""
    code_rows: np.ndarray
    """uint32 [p], ascending within an item"""
    scores: np.ndarray
    """uint16 [p], grid values"""
    places: np.ndarray
    """int64 [p], where each posting lies in the order by code"""

    def __len__(self) -> int:
        return len(self.offsets) - 1


def count_by_item(item_numbers: np.ndarray, num_items: int, block: int = BLOCK_POSTINGS) -> np.ndarray:
    """Postings of each item: uint32 [P] → int64 [num_items]."""
    counts = np.zeros(num_items, dtype=np.int64)
    for start in range(0, len(item_numbers), block):
        counts += np.bincount(item_numbers[start : start + block], minlength=num_items)
    return counts


def count_rows_by_item(
    offsets: np.ndarray, item_numbers: np.ndarray, num_items: int, block: int = BLOCK_SORTED
) -> np.ndarray:
    """How many rows hold each item, however often: offsets uint64 [R + 1], item numbers uint32 [n] → int64 [num_items].

    Some rows at a time, of at most `block` entries (or one row).
    """
    counts = np.zeros(num_items, dtype=np.int64)
    ends = np.asarray(offsets).astype(np.int64)
    first = 0
    while first < len(ends) - 1:
        last = max(first + 1, int(np.searchsorted(ends, ends[first] + block, side="right")) - 1)
        owners = csr.owners(ends[first : last + 1])
        pairs = np.sort(owners * num_items + item_numbers[ends[first] : ends[last]])
        distinct = np.flatnonzero(np.diff(pairs, prepend=-1))
        counts += np.bincount(pairs[distinct] % num_items, minlength=num_items)
        first = last
    return counts


def transpose(
    code_offsets: np.ndarray,
    item_numbers: np.ndarray,
    scores: np.ndarray,
    num_items: int,
    block: int = BLOCK_POSTINGS,
) -> Iterator[ItemBlock]:
    """All items in order, in blocks of at most `block` postings (or one item).

    code_offsets: uint64 [C + 1], item_numbers: uint32 [P], scores: uint16 [P], as in the artifact. The first pass counts;
    then each block of items is gathered in one pass over the postings.
    """
    ends = np.cumsum(count_by_item(item_numbers, num_items, block))
    first = 0
    while first < num_items:
        done = int(ends[first - 1]) if first else 0
        last = max(first + 1, int(np.searchsorted(ends, done + block, side="right")))
        yield _gather(code_offsets, item_numbers, scores, first, last, block)
        first = last


def _gather(
    code_offsets: np.ndarray, item_numbers: np.ndarray, scores: np.ndarray, first: int, last: int, block: int
) -> ItemBlock:
    parts = []
    for start in range(0, len(item_numbers), block):
        piece = np.asarray(item_numbers[start : start + block])
        parts.append(start + np.flatnonzero((piece >= first) & (piece < last)))
    places = np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)
    items = item_numbers[places].astype(np.int64) - first
    # Stable, so that an item's codes stay in the order of their rows.
    places = places[np.argsort(items, kind="stable")]
    offsets = csr.offsets_of(np.bincount(items, minlength=last - first)).astype(np.int64)
    rows = np.searchsorted(code_offsets, places.astype(np.uint64), side="right") - 1
    return ItemBlock(first, offsets, rows.astype(np.uint32), scores[places], places)
