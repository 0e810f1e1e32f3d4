"""What a recommender gives back: frozen objects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from sparcode_es.engines.base import ItemDocument, Query


@dataclass(frozen=True)
class Reason:
    """What one code gave an item: boost × score."""

    term: str
    boost: float
    score: float
    because: ItemDocument | None = None
    """The item of the history that the code stands for, where it is the code of an item."""

    @property
    def given(self) -> float:
        """boost × score"""
        return self.boost * self.score


@dataclass(frozen=True)
class Item:
    """An item to show."""

    id: str
    title: str | None = None
    score: float | None = None
    """Σ boost × score of the codes, with boosts and text; None for what is pinned or popular."""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    pinned: bool = False
    reasons: tuple[Reason, ...] | None = None
    """The codes that gave the score (before boosts and text), when that was asked for; `Recommender.reasons` gives them later.
    None also where the engine ranked and then could not say why."""


@dataclass(frozen=True)
class Recommendations:
    """A page of items, where they come from, and why not from the codes where that is so."""

    items: tuple[Item, ...]
    source: Literal["codes", "popular"]
    reason: str | None = None
    """Why `source` is "popular": an unknown user, or an engine that did not answer in time."""
    page: int = 1
    k: int = 10
    """Items a page."""
    generation: str | None = None
    """What answered: the items index, or the artifact's hash."""
    query: Query | None = None
    """The sum of codes that was asked; None for popular items."""
    seen: tuple[str, ...] = ()
    """The user's own items, oldest first."""
    unknown: tuple[str, ...] = ()
    """Items of the history that the model does not know: they were left out of it."""

    def __iter__(self) -> Iterator[Item]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)
