"""Which items have an attribute, for the embedded engine's filters and boosts."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from sparcode_es.engines.conditions import (
    ITEM,
    AnyOf,
    Boost,
    Condition,
    Dsl,
    NoneOf,
    holds,
    numbers_of,
    values_of,
    weight_of,
)
from sparcode_es.errors import ConfigError
from sparcode_es.postings.artifact import Artifact

MASKS = 64
"""Filters whose masks are kept, one byte an item each."""
NONE = np.zeros(0, dtype=np.int64)


class Attributes:
    """The items of each value of an attribute, read from the documents when a second query asks for its name.

    The first query with a name looks at its own items' documents alone: a process that answers one query reads no others.
    """

    def __init__(self, artifact: Artifact) -> None:
        self._artifact = artifact
        self._asked: set[str] = set()
        self._mask = functools.lru_cache(MASKS)(self._make_mask)
        self._texts = functools.cache(self._read_texts)
        self._numbers = functools.cache(self._read_numbers)

    def has(self, items: np.ndarray, conditions: tuple[Condition, ...]) -> np.ndarray:
        """For which of `items` (int64 [n]) all conditions hold, bool [n]. Raises `ConfigError` for Elasticsearch's query DSL."""
        if any(isinstance(each, Dsl) for each in conditions):
            raise ConfigError(
                "the embedded engine does not know Elasticsearch's query DSL; filter by attributes, or ask Elasticsearch."
            )
        if self._known({each.field for each in conditions if not isinstance(each, Dsl)}):
            mask: np.ndarray = self._mask(conditions).take(items)
            return mask
        distinct, inverse = np.unique(items, return_inverse=True)
        found = [all(holds(each, *self._shown(item)) for each in conditions) for item in distinct.tolist()]
        return np.array(found, dtype=bool)[inverse]

    def weights(self, items: np.ndarray, boosts: tuple[Boost, ...]) -> np.ndarray:
        """The product of the weights of the boosts that each of `items` (int64 [n]) has, float64 [n]."""
        if not self._known({boost.field for boost in boosts}):
            return np.array([weight_of(boosts, *self._shown(item)) for item in items.tolist()], dtype=np.float64)
        product = np.ones(self._artifact.num_items)
        for boost in boosts:
            product[self._having(boost.field, [boost.value])] *= boost.weight
        return product.take(items)

    def _known(self, names: set[str]) -> bool:
        """Whether an earlier query asked for all these names."""
        known = names <= self._asked
        self._asked |= names
        return known

    def _shown(self, item: int) -> tuple[str, dict[str, object]]:
        return self._artifact.item_ids[item], self._artifact.item_doc(item)["attributes"]

    def _make_mask(self, conditions: tuple[Condition, ...]) -> np.ndarray:
        """Whether all conditions hold for each item, bool [I]."""
        mask = np.ones(self._artifact.num_items, dtype=bool)
        for condition in conditions:
            mask &= self._fitting(condition)
        return mask

    def _fitting(self, condition: Condition) -> np.ndarray:
        mask = np.zeros(self._artifact.num_items, dtype=bool)
        if isinstance(condition, AnyOf):
            mask[self._having(condition.field, condition.values)] = True
        elif isinstance(condition, NoneOf):
            mask[self._having(condition.field, condition.values)] = True
            return ~mask
        elif isinstance(condition, Dsl):
            raise AssertionError("refused before")
        elif condition.numeric:
            items, numbers = self._numbers(condition.field)
            mask[items[np.array([condition.holds(number) for number in numbers], dtype=bool)]] = True
        elif condition.field == ITEM:
            return np.array([condition.holds(name.encode()) for name in self._artifact.item_ids], dtype=bool)
        else:
            known = self._texts(condition.field)
            mask[self._having(condition.field, [text for text in known if condition.holds(text.encode())])] = True
        return mask

    def _having(self, name: str, values: Iterable[str]) -> np.ndarray:
        """The items that have one of the values, int64 [n]."""
        if name == ITEM:
            numbers = [self._artifact.item_ids.find(value) for value in values]
            return np.array([number for number in numbers if number is not None], dtype=np.int64)
        texts = self._texts(name)
        return np.concatenate([NONE, *[texts[value] for value in values if value in texts]])

    def _read_texts(self, name: str) -> dict[str, np.ndarray]:
        """Value → item numbers int64 [n], ascending, from all documents."""
        found: defaultdict[str, list[int]] = defaultdict(list)
        for item in range(self._artifact.num_items):
            for value in set(values_of(self._artifact.item_doc(item)["attributes"].get(name))):
                found[value].append(item)
        return {value: np.array(items, dtype=np.int64) for value, items in found.items()}

    def _read_numbers(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Item numbers int64 [n] and the numbers that they have float64 [n], from all documents; of `_item`, the ids'."""
        items, numbers = [], []
        for item in range(self._artifact.num_items):
            own, attributes = self._shown(item)
            for number in numbers_of(own if name == ITEM else attributes.get(name)):
                items.append(item)
                numbers.append(number)
        return np.array(items, dtype=np.int64), np.array(numbers, dtype=np.float64)
