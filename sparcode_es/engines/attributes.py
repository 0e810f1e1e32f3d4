"""The attributes of all items the other way round: value → items, so that filters and boosts need not read documents."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from sparcode_es.engines.conditions import ITEM, AnyOf, Boost, Condition, Dsl, NoneOf, numbers_of, values_of
from sparcode_es.errors import ConfigError
from sparcode_es.postings.artifact import Artifact


class Attributes:
    """Read from an artifact once: I documents parsed, one item number a value kept."""

    def __init__(self, artifact: Artifact) -> None:
        self._ids, self._count = artifact.item_ids, artifact.num_items
        texts: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        numbers: dict[str, list[tuple[int, float]]] = defaultdict(list)
        for item in range(artifact.num_items):
            for name, value in artifact.item_doc(item)["attributes"].items():
                for text in set(values_of(value)):
                    texts[name][text].append(item)
                numbers[name] += [(item, number) for number in numbers_of(value)]
        self._texts = {name: {t: np.array(items) for t, items in by.items()} for name, by in texts.items()}
        self._numbers = {
            name: (np.array([item for item, _ in pairs], dtype=np.int64), np.array([number for _, number in pairs]))
            for name, pairs in numbers.items()
        }

    def _having(self, name: str, values: Iterable[str]) -> np.ndarray:
        """Which items have one of the values, bool [I]."""
        mask = np.zeros(self._count, dtype=bool)
        for value in values:
            if name == ITEM:
                number = self._ids.find(value)
                mask[[] if number is None else [number]] = True
            else:
                mask[self._texts.get(name, {}).get(value, np.zeros(0, np.int64))] = True
        return mask

    def fitting(self, condition: Condition) -> np.ndarray:
        """Which items a condition holds for, bool [I]. Raises `ConfigError` for Elasticsearch's query DSL."""
        if isinstance(condition, Dsl):
            raise ConfigError(
                "the embedded engine does not know Elasticsearch's query DSL; filter by attributes, or ask Elasticsearch."
            )
        if isinstance(condition, AnyOf):
            return self._having(condition.field, condition.values)
        if isinstance(condition, NoneOf):
            return ~self._having(condition.field, condition.values)
        mask = np.zeros(self._count, dtype=bool)
        if condition.numeric:
            items, numbers = self._numbers.get(condition.field, (np.zeros(0, np.int64), np.zeros(0)))
            mask[items[np.array([condition.holds(number) for number in numbers], dtype=bool)]] = True
            return mask
        if condition.field == ITEM:
            return np.array([condition.holds(name.encode()) for name in self._ids], dtype=bool)
        known = self._texts.get(condition.field, {})
        return self._having(condition.field, [value for value in known if condition.holds(value.encode())])

    def allowed(self, conditions: Iterable[Condition]) -> np.ndarray:
        """Which items all conditions hold for, bool [I]."""
        mask = np.ones(self._count, dtype=bool)
        for condition in conditions:
            mask &= self.fitting(condition)
        return mask

    def weights(self, boosts: Iterable[Boost]) -> np.ndarray:
        """The product of the weights of the boosts that each item has, float64 [I]."""
        product = np.ones(self._count)
        for boost in boosts:
            product[self._having(boost.field, [boost.value])] *= boost.weight
        return product
