"""Which items have an attribute, for the embedded engine's filters and boosts."""

from __future__ import annotations

import functools
import threading
from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from sparcode_es.engines.conditions import (
    ITEM,
    AnyOf,
    Between,
    Boost,
    Condition,
    Dsl,
    NoneOf,
    holds,
    values_of,
    weight_of,
)
from sparcode_es.errors import ConfigError
from sparcode_es.postings.artifact import Artifact

MASKS = 64
"""Filters whose masks are kept, one byte an item each."""
COLUMNS = 32
"""Attributes whose values are kept; one more takes the place of the one that was read first."""
Column = dict[str, np.ndarray]
"""Value → the numbers of the items that have it, uint32 [n], ascending."""
NONE = np.zeros(0, dtype=np.uint32)


class Attributes:
    """The items of each value of an attribute, read from the documents. Safe for several threads.

    The first filter and the first boost look at their own items' documents alone: a process that answers one query reads no
    others. Then each attribute that the items have costs one pass over all documents, when it is first asked for; any other name
    costs nothing.
    """

    def __init__(self, artifact: Artifact) -> None:
        self._artifact = artifact
        self._new = {"filter", "boost"}
        self._names: set[str] | None = None
        self._columns: dict[str, Column] = {}
        self._reading = threading.Lock()
        self._mask = functools.lru_cache(MASKS)(self._make_mask)

    def has(self, items: np.ndarray, conditions: tuple[Condition, ...]) -> np.ndarray:
        """For which of `items` (int64 [n]) all conditions hold, bool [n]. Raises `ConfigError` for Elasticsearch's query DSL."""
        if any(isinstance(each, Dsl) for each in conditions):
            raise ConfigError(
                "the embedded engine does not know Elasticsearch's query DSL; filter by attributes, or ask Elasticsearch."
            )
        if not self._is_first("filter"):
            mask: np.ndarray = self._mask(conditions).take(items)
            return mask
        distinct, inverse = np.unique(items, return_inverse=True)
        found = [all(holds(each, *self._shown(item)) for each in conditions) for item in distinct.tolist()]
        return np.array(found, dtype=bool)[inverse]

    def weights(self, items: np.ndarray, boosts: tuple[Boost, ...]) -> np.ndarray:
        """The product of the weights of the boosts that each of `items` (int64 [n]) has, float64 [n]."""
        if self._is_first("boost"):
            return np.array([weight_of(boosts, *self._shown(item)) for item in items.tolist()], dtype=np.float64)
        product = np.ones(self._artifact.num_items)
        for boost in boosts:
            product[self._having(boost.field, boost.condition.spellings)] *= boost.weight
        return product.take(items)

    def _is_first(self, kind: str) -> bool:
        first = kind in self._new
        self._new.discard(kind)
        return first

    def _shown(self, item: int) -> tuple[str, dict[str, object]]:
        return self._artifact.item_ids[item], self._artifact.item_doc(item)["attributes"]

    def _make_mask(self, conditions: tuple[Condition, ...]) -> np.ndarray:
        """Whether all conditions hold for each item, bool [I]."""
        mask = np.ones(self._artifact.num_items, dtype=bool)
        for condition in conditions:
            mask &= self._fitting(condition)
        return mask

    def _fitting(self, condition: Condition) -> np.ndarray:
        if isinstance(condition, NoneOf):
            return ~self._fitting(condition.opposite)
        mask = np.zeros(self._artifact.num_items, dtype=bool)
        if isinstance(condition, AnyOf):
            mask[self._having(condition.field, condition.spellings)] = True
        elif isinstance(condition, Between):
            if condition.field == ITEM:
                return np.array([condition.fits(name) for name in self._artifact.item_ids], dtype=bool)
            fitting = [value for value in self._column(condition.field) if condition.fits(value)]
            mask[self._having(condition.field, fitting)] = True
        else:
            raise AssertionError("refused before")
        return mask

    def _having(self, name: str, values: Iterable[str]) -> np.ndarray:
        """The items that have one of the values, uint32 [n]."""
        if name == ITEM:
            numbers = [self._artifact.item_ids.find(value) for value in values]
            return np.array([number for number in numbers if number is not None], dtype=np.uint32)
        column = self._column(name)
        return np.concatenate([NONE, *[column[value] for value in values if value in column]])

    def _column(self, name: str) -> Column:
        """An attribute's values; {} of one that no item has. One thread reads, those that ask for what is there do not wait."""
        column = self._columns.get(name)
        if column is not None:
            return column
        with self._reading:
            if name in self._columns or (self._names is not None and name not in self._names):
                return self._columns.get(name, {})
            column, self._names = self._read(name)
            if name in self._names:
                if len(self._columns) == COLUMNS:
                    del self._columns[next(iter(self._columns))]
                self._columns[name] = column
            return column

    def _read(self, name: str) -> tuple[Column, set[str]]:
        """An attribute's values and the names of all attributes, from all documents."""
        found: defaultdict[str, list[int]] = defaultdict(list)
        names: set[str] = set()
        for item in range(self._artifact.num_items):
            attributes = self._artifact.item_doc(item)["attributes"]
            names.update(attributes)
            for value in set(values_of(attributes.get(name))):
                found[value].append(item)
        return {value: np.array(items, dtype=np.uint32) for value, items in found.items()}, names
