"""Tiny cases for the cold-start systems."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sparcode_es.data.dataset import Cases, Sequences


def sequences(*histories: Sequence[int], users: Sequence[int] | None = None) -> Sequences:
    """Item sequences of users 0, 1, …, or of those named."""
    offsets = np.cumsum([0, *map(len, histories)]).astype(np.uint64)
    items = np.array([item for history in histories for item in history], dtype=np.uint32)
    return Sequences(offsets, items, np.array(range(len(histories)) if users is None else users, dtype=np.uint32))


def cases(*histories: Sequence[int], users: Sequence[int] | None = None) -> Cases:
    """Cases with these histories, each asking for item 0."""
    found = sequences(*histories, users=users)
    places = np.arange(len(histories) + 1).astype(np.uint64)
    return Cases(found.users, found.offsets, found.items, places, np.zeros(len(histories), dtype=np.uint32))
