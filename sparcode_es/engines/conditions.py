"""Filters and boosts that every engine honours alike, and Elasticsearch's own query DSL for that engine alone.

Attributes are compared as texts, the way a `keyword` field holds them: 1999 is "1999", true is "true". A whole number is looked
for as "1999" and as "1999.0": an import stores the one or the other. A list attribute holds where one of its values does. Bounds
that are numbers compare the values that read as numbers; bounds that are texts compare UTF-8 bytes.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from sparcode_es.errors import ConfigError

ITEM = "_item"
"""The name that stands for the item's own id."""
LONGEST = 1024
"""UTF-16 units; longer values are not indexed (`ignore_above`)."""
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
WHOLE = re.compile(r"(-?[1-9]\d*|0)(\.0)?", re.ASCII)
"""A whole number as an import stores it: with `.0` where a CSV column has gaps or fractions, as pandas writes those."""
Bound = float | str | None


@dataclass(frozen=True)
class AnyOf:
    """One of the values is among the item's."""

    field: str
    values: tuple[str, ...]
    """As they were given."""

    @functools.cached_property
    def spellings(self) -> tuple[str, ...]:
        """What is looked for: whole numbers both ways, ids as they were given."""
        return self.values if self.field == ITEM else _spellings(self.values)


@dataclass(frozen=True)
class NoneOf:
    """None of the values is among the item's; holds for an item without the attribute."""

    field: str
    values: tuple[str, ...]

    @functools.cached_property
    def opposite(self) -> AnyOf:
        """What holds for all other items."""
        return AnyOf(self.field, self.values)


@dataclass(frozen=True)
class Between:
    """One of the item's values lies within the bounds, which are numbers or texts, not both."""

    field: str
    gt: Bound = None
    gte: Bound = None
    lt: Bound = None
    lte: Bound = None

    def __post_init__(self) -> None:
        kinds = {isinstance(bound, str) for bound in self.bounds().values()}
        if len(kinds) != 1:
            raise ConfigError(f"the range of {self.field!r} needs bounds that are all numbers or all texts")
        if self.numeric and not all(math.isfinite(bound) for bound in self.bounds().values()):
            raise ConfigError(f"the bounds of {self.field!r} must be finite")

    def bounds(self) -> dict[str, Any]:
        """The bounds that there are, by the names that Elasticsearch has for them."""
        named = {"gt": self.gt, "gte": self.gte, "lt": self.lt, "lte": self.lte}
        return {name: bound for name, bound in named.items() if bound is not None}

    @property
    def numeric(self) -> bool:
        """Whether numbers are compared."""
        return not any(isinstance(bound, str) for bound in self.bounds().values())

    def fits(self, text: str) -> bool:
        """Whether a value lies within: the number that it reads as, where numbers are compared, else its bytes."""
        return any(map(self._holds, numbers_of(text))) if self.numeric else self._holds(text.encode())

    def _holds(self, value: Any) -> bool:
        bounds = {name: b.encode() if isinstance(b, str) else b for name, b in self.bounds().items()}
        return (
            ("gt" not in bounds or value > bounds["gt"])
            and ("gte" not in bounds or value >= bounds["gte"])
            and ("lt" not in bounds or value < bounds["lt"])
            and ("lte" not in bounds or value <= bounds["lte"])
        )


@dataclass(frozen=True)
class Dsl:
    """A query of Elasticsearch's own, such as `Dsl({"prefix": {"title.keyword": "Star"}})`; no other engine has it."""

    query: Mapping[str, Any]


Condition = AnyOf | NoneOf | Between | Dsl
FilterLike = Mapping[str, Any] | Dsl | Sequence[Mapping[str, Any] | Dsl] | None


@dataclass(frozen=True)
class Boost:
    """Items with this value of this attribute have their score multiplied by `weight`, which is positive."""

    field: str
    value: str
    weight: float

    def __post_init__(self) -> None:
        if not 0 < self.weight < 1e6:
            raise ConfigError(
                f"the boost of {self.field}={self.value} must lie above 0 and below a million, not {self.weight}; "
                "what is not wanted is left out with filter or exclude"
            )

    @functools.cached_property
    def condition(self) -> AnyOf:
        """Holds for the items that are boosted."""
        return AnyOf(self.field, (self.value,))


def parse_filter(given: FilterLike) -> tuple[Condition, ...]:
    """Conditions, all of which must hold, out of `{"genre": ["Drama"], "year": {"gte": 1990}}`, a `Dsl` or a list of both.

    A text, number or list means one of them; a mapping has bounds (`gt`, `gte`, `lt`, `lte`) and lists `any`, `all`, `none`.
    `_item` names the item's own id. Raises `ConfigError`.
    """
    if given is None:
        return ()
    if isinstance(given, Dsl):
        return (given,)
    if isinstance(given, Mapping):
        return tuple(each for name, wanted in given.items() for each in _conditions(name, wanted))
    if isinstance(given, (str, bytes)) or not isinstance(given, Sequence):
        raise ConfigError(f"a filter is a mapping, a Dsl or a list of them, not {given!r}")
    return tuple(each for part in given for each in parse_filter(part))


def _conditions(name: str, wanted: Any) -> list[Condition]:
    if not isinstance(name, str) or not name:
        raise ConfigError(f"a filter names attributes, not {name!r}")
    if not isinstance(wanted, Mapping):
        return [AnyOf(name, _texts(name, wanted))]
    unknown = wanted.keys() - {"gt", "gte", "lt", "lte", "any", "all", "none"}
    if unknown or not wanted:
        raise ConfigError(f"the filter of {name!r} knows gt, gte, lt, lte, any, all and none, not {sorted(unknown)}")
    found: list[Condition] = []
    if "any" in wanted:
        found.append(AnyOf(name, _texts(name, wanted["any"])))
    if "all" in wanted:
        found += [AnyOf(name, (each,)) for each in _texts(name, wanted["all"])]
    if "none" in wanted:
        found.append(NoneOf(name, _texts(name, wanted["none"])))
    bounds = {key: _bound(name, wanted[key]) for key in ("gt", "gte", "lt", "lte") if key in wanted}
    return [*found, Between(name, **bounds)] if bounds else found


def _bound(name: str, value: Any) -> float | str:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ConfigError(f"a bound of {name!r} is a number or a text, not {value!r}")
    return value if isinstance(value, str) else float(value)


def _texts(name: str, wanted: Any) -> tuple[str, ...]:
    values = tuple(
        dict.fromkeys(values_of(sorted(wanted, key=str) if isinstance(wanted, (set, frozenset)) else wanted))
    )
    if not values:
        raise ConfigError(f"the filter of {name!r} has no value; leave it out, or give at least one")
    return values


def _spellings(values: Iterable[str]) -> tuple[str, ...]:
    """The texts that are stored of these values: 1990 may be "1990" or "1990.0", 007 is itself alone."""
    found: dict[str, None] = {}
    for value in values:
        whole = WHOLE.fullmatch(value)
        found |= dict.fromkeys([value] if whole is None else [whole[1], f"{whole[1]}.0"])
    return tuple(found)


def said(condition: Condition) -> str:
    """A condition as `query --filter` takes it, or nearly so."""
    if isinstance(condition, Dsl):
        return "the query DSL"
    if isinstance(condition, Between):
        signs = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
        return " and ".join(f"{condition.field}{signs[name]}{bound}" for name, bound in condition.bounds().items())
    sign = "=" if isinstance(condition, AnyOf) else "!="
    return f"{condition.field}{sign}{' or '.join(condition.values)}"


def parse_boosts(given: Mapping[str, Mapping[Any, float]] | None) -> tuple[Boost, ...]:
    """`{"genre": {"Drama": 1.5}, "_item": {"i9": 2.0}}` → boosts. Raises `ConfigError`.

    Of two spellings of one number the later counts, as of equal keys of a mapping.
    """
    found: dict[tuple[str, ...], Boost] = {}
    for name, weights in (given or {}).items():
        if not isinstance(weights, Mapping):
            raise ConfigError(f"the boost of {name!r} is a mapping of values to weights, not {weights!r}")
        boosts = [Boost(name, _texts(name, value)[0], float(weight)) for value, weight in weights.items()]
        found |= {(name, *boost.condition.spellings): boost for boost in boosts}
    return tuple(found.values())


def text_of(value: Any) -> str:
    """A value as a `keyword` field holds it."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return orjson.dumps(float(value)).decode() if isinstance(value, float) else str(value)


def values_of(value: Any) -> list[str]:
    """The texts of an attribute, which may be a list; too long ones are left out."""
    if value is None:
        return []
    entries: Iterable[Any] = value if isinstance(value, (list, tuple)) else (value,)
    texts = [text_of(entry) for entry in entries if entry is not None]
    return [text for text in texts if len(text) <= LONGEST // 2 or len(text.encode("utf-16-le")) <= 2 * LONGEST]


def numbers_of(value: Any) -> list[float]:
    """The finite numbers among the values of an attribute."""
    found = [float(text) for text in values_of(value) if NUMBER.fullmatch(text)]
    return [number for number in found if math.isfinite(number)]


def item_values(name: str, item: str, attributes: Mapping[str, Any]) -> list[str]:
    """The texts of an item's attribute, or its own id under the name `_item`."""
    return [item] if name == ITEM else values_of(attributes.get(name))


def holds(condition: Condition, item: str, attributes: Mapping[str, Any]) -> bool:
    """Whether an item fits a condition. Raises `ConfigError` for a `Dsl`, which only Elasticsearch can tell."""
    if isinstance(condition, Dsl):
        raise ConfigError("only Elasticsearch can tell whether an item fits its query DSL")
    if isinstance(condition, NoneOf):
        return not holds(condition.opposite, item, attributes)
    values = item_values(condition.field, item, attributes)
    if isinstance(condition, AnyOf):
        return not set(values).isdisjoint(condition.spellings)
    return any(map(condition.fits, values))


def weight_of(boosts: Iterable[Boost], item: str, attributes: Mapping[str, Any]) -> float:
    """The product of the weights of the boosts that an item has."""
    product = 1.0
    for boost in boosts:
        if holds(boost.condition, item, attributes):
            product *= boost.weight
    return product
