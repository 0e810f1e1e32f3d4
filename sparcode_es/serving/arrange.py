"""From a ranking to a page: at most n items a value, dissimilar items first, pinned items at their places.

Everything here is a pure function of the ranking, so all engines arrange alike; the first n of a longer list are the list of
n, so pages fit together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from sparcode_es.engines.base import Contribution
from sparcode_es.errors import ConfigError

T = TypeVar("T")


@dataclass(frozen=True)
class MaxPer:
    """At most `count` items with one value of an attribute in the whole list, all its pages together.

    The ranking is walked from its top; an item is left out when one of its values has been shown `count` times. Items without
    the attribute are not counted. Pinned items neither.
    """

    field: str
    count: int = 1

    def __post_init__(self) -> None:
        if not self.field or self.count < 1:
            raise ConfigError(f"at most how many items a value of which attribute? not {self}")


@dataclass(frozen=True)
class Mmr:
    """Maximal marginal relevance (Carbonell and Goldstein, SIGIR '98) over the best `pool` items of the ranking.

    Next comes the item with the largest (1 - weight) × score / largest score - weight × overlap with the most alike item
    chosen before. The overlap of two items is that of what the user's codes give them: Σ min / Σ max of boost × score over the
    codes (weighted Jaccard). Equal values: the higher ranked first. The rest of the ranking follows as it is.
    """

    weight: float = 0.3
    pool: int = 100

    def __post_init__(self) -> None:
        if not 0 <= self.weight <= 1 or not 1 <= self.pool <= 1000:
            raise ConfigError(f"MMR takes a weight of 0 to 1 and a pool of 1 to 1000 items, not {self}")


Diversify = MaxPer | Mmr


def at_most(ranking: Sequence[T], values: Callable[[T], Sequence[str]], count: int) -> list[T]:
    """The ranking without the items of which one value has been shown `count` times before."""
    shown: Counter[str] = Counter()
    kept = []
    for item in ranking:
        own = set(values(item))
        if all(shown[value] < count for value in own):
            shown.update(own)
            kept.append(item)
    return kept


def overlap(one: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Σ min / Σ max of what the codes give an item, float64 [T], and each of some others, [n, T]; 0 where neither gets
    anything. [n]"""
    larger = np.maximum(one, others).sum(axis=-1)
    smaller = np.minimum(one, others).sum(axis=-1)
    shares: np.ndarray = np.divide(smaller, larger, out=np.zeros_like(larger), where=larger > 0)
    return shares


def given_by_codes(contributions: Sequence[Contribution]) -> dict[str, float]:
    """Term → boost × score."""
    given: dict[str, float] = {}
    for part in contributions:
        given[part.term] = given.get(part.term, 0.0) + part.boost * part.score
    return given


def by_term(given: Sequence[Mapping[str, float]]) -> np.ndarray:
    """What the codes give n items as a matrix, float64 [n, T], a column a term in order of their names."""
    columns = {term: column for column, term in enumerate(sorted({term for parts in given for term in parts}))}
    table = np.zeros((len(given), len(columns)))
    for row, parts in enumerate(given):
        for term, value in parts.items():
            table[row, columns[term]] = value
    return table


def marginal(scores: Sequence[float], given: Sequence[Mapping[str, float]], weight: float) -> list[int]:
    """The order of MMR: places in the ranking, of `scores` [n] and of what the codes give [n]."""
    table, values = by_term(given), np.array(scores, dtype=np.float64)
    relevance = (1 - weight) * values / values.max(initial=np.finfo(float).tiny)
    nearest, left = np.zeros(len(values)), np.ones(len(values), dtype=bool)
    order: list[int] = []
    for _ in range(len(values)):
        # Rounded, so that sums taken in another order agree; of equal values argmax takes the first.
        best = int(np.argmax(np.where(left, np.round(relevance - weight * nearest, 9), -np.inf)))
        left[best] = False
        order.append(best)
        nearest = np.maximum(nearest, overlap(table[best], table))
    return order


def pinned(ranking: Sequence[T], pins: Mapping[int, T], length: int) -> list[T]:
    """The first `length` of a list with the pinned at their places, which count from 1, and the ranking in between.

    Where the ranking ends before a place, what is pinned there follows at once.
    """
    rest, waiting = iter(ranking), sorted(pins)
    listed: list[T] = []
    while len(listed) < length:
        if waiting and waiting[0] == len(listed) + 1:
            listed.append(pins[waiting.pop(0)])
            continue
        try:
            listed.append(next(rest))
        except StopIteration:
            listed += [pins[place] for place in waiting][: length - len(listed)]
            break
    return listed
