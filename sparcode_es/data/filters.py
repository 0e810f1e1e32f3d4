"""Filters on events: repeated ones, and the k-core."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sparcode_es.data.events import Events


def repeated(events: Events) -> np.ndarray:
    """Which events repeat an earlier one, bool [E]: the same user, item and time (user and item where there are no times)."""
    return repeats([events.items, events.users] if events.times is None else [events.times, events.items, events.users])


def repeats(keys: Sequence[np.ndarray]) -> np.ndarray:
    """Which entries repeat an earlier one in all keys, [E] each: bool [E]."""
    # lexsort is stable, so within equal keys the source's order stays and the first is the one not marked.
    order = np.lexsort(keys)
    same = np.ones(max(0, len(order) - 1), dtype=bool)
    for key in keys:
        ordered = key[order]
        same &= ordered[1:] == ordered[:-1]
    marked = np.zeros(len(order), dtype=bool)
    marked[order[1:]] = same
    return marked


def k_core(users: np.ndarray, items: np.ndarray, min_user: int, min_item: int) -> np.ndarray:
    """The events that are left, bool [E], when every user keeps at least `min_user` events and every item `min_item`.

    Users and items below the bound are taken out in turns until none is left to take: the largest such set of events.
    """
    kept = np.ones(len(users), dtype=bool)
    while kept.any():
        user_counts = np.bincount(users[kept], minlength=int(users.max()) + 1)
        item_counts = np.bincount(items[kept], minlength=int(items.max()) + 1)
        stays = kept & (user_counts[users] >= min_user) & (item_counts[items] >= min_item)
        if stays.sum() == kept.sum():
            break
        kept = stays
    return kept
