"""Which items have an attribute, for the embedded engine's filters."""

from __future__ import annotations

import functools
from collections import defaultdict

import numpy as np

from sparcode_es.postings.artifact import Artifact

MASKS = 64
"""Sets of wanted attributes whose masks are kept, one byte an item each."""


class Attributes:
    """The items of each value of an attribute, read from the documents when a second query asks for its name.

    The first query with a name looks at its own items' documents alone: a process that answers one query reads no others.
    """

    def __init__(self, artifact: Artifact) -> None:
        self._artifact = artifact
        self._asked: set[str] = set()
        self._mask = functools.lru_cache(MASKS)(self._make_mask)
        self._items = functools.cache(self._read)

    def has(self, items: np.ndarray, wanted: tuple[tuple[str, str], ...]) -> np.ndarray:
        """Which of `items` (int64 [n]) have all the wanted (name, value) pairs, bool [n]."""
        names = {name for name, _ in wanted}
        if names <= self._asked:
            mask: np.ndarray = self._mask(wanted).take(items)
            return mask
        self._asked |= names
        distinct, inverse = np.unique(items, return_inverse=True)
        return np.array([self._has_all(item, wanted) for item in distinct.tolist()], dtype=bool)[inverse]

    def _has_all(self, item: int, wanted: tuple[tuple[str, str], ...]) -> bool:
        attributes = self._artifact.item_doc(item)["attributes"]
        return all(value in values_of(attributes.get(name)) for name, value in wanted)

    def _make_mask(self, wanted: tuple[tuple[str, str], ...]) -> np.ndarray:
        """Whether each item has all the pairs, bool [I]."""
        mask = np.ones(self._artifact.num_items, dtype=bool)
        for name, value in wanted:
            has = np.zeros(len(mask), dtype=bool)
            has[self._items(name).get(value, [])] = True
            mask &= has
        return mask

    def _read(self, name: str) -> dict[str, np.ndarray]:
        """Value → item numbers uint32 [n], ascending, from all documents."""
        found: defaultdict[str, list[int]] = defaultdict(list)
        for item in range(self._artifact.num_items):
            for value in set(values_of(self._artifact.item_doc(item)["attributes"].get(name))):
                found[value].append(item)
        return {value: np.array(items, dtype=np.uint32) for value, items in found.items()}


def values_of(value: object) -> list[str]:
    """The values of an attribute as a filter compares them: none, one, or those of a list."""
    if value is None:
        return []
    return [str(entry) for entry in value] if isinstance(value, (list, tuple)) else [str(value)]
