"""What is asked of a recommender, checked before anything is sent."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypedDict

from sparcode_es.engines.base import Text
from sparcode_es.engines.conditions import Boost, Condition, FilterLike, parse_boosts, parse_filter
from sparcode_es.errors import ConfigError
from sparcode_es.serving.arrange import Diversify, Mmr

if TYPE_CHECKING:
    from typing_extensions import Unpack

DEEPEST = 10_000
"""k × page at most."""


class Options(TypedDict, total=False):
    """How to recommend; every one may be left out."""

    history: Sequence[str] | None
    """Item ids, oldest first, of somebody who is not in the index; needs the recommender to have an encoder."""
    k: int
    """Items a page; 10."""
    page: int
    """Which page, from 1. Pages of one k put end to end are one list without repetition, as long as the generation stays."""
    filter: FilterLike
    """See `sparcode_es.engines.conditions.parse_filter`."""
    exclude: Collection[str]
    """Item ids that are not wanted."""
    exclude_seen: bool
    """Leave out the user's own items too."""
    boost: Mapping[str, Mapping[Any, float]] | None
    """{attribute: {value: weight}}: the score is multiplied by the weight of each value that an item has. `_item` names ids."""
    pin: Mapping[int, str] | Sequence[str] | None
    """{place: item id}, places counted from 1 over the whole list; or ids for the first places. Pins are shown whatever filter,
    seen items and diversity say; unknown ones are not."""
    diversify: Diversify | None
    """`MaxPer` or `Mmr`."""
    text: Text | str | None
    """Words for the titles (Elasticsearch alone)."""
    explain: bool
    """Give every item its reasons."""


@dataclass(frozen=True)
class Ask:
    """One question; `Ask.of` makes and checks it."""

    user: str | None
    history: tuple[str, ...] | None
    k: int = 10
    page: int = 1
    filter: tuple[Condition, ...] = ()
    exclude: frozenset[str] = frozenset()
    exclude_seen: bool = False
    boosts: tuple[Boost, ...] = ()
    pins: Mapping[int, str] = field(default_factory=dict)
    diversify: Diversify | None = None
    text: Text | None = None
    explain: bool = False

    def __post_init__(self) -> None:
        if (self.user is None) == (self.history is None):
            raise ConfigError("recommend for a user or for a history: give one of them")
        if self.k < 1 or self.page < 1 or self.k * self.page > DEEPEST:
            raise ConfigError(
                f"k and page must be at least 1, and k × page at most {DEEPEST}, not {self.k} and {self.page}"
            )
        places, items = list(self.pins), list(self.pins.values())
        if any(place < 1 for place in places) or len(set(items)) < len(items):
            raise ConfigError(f"pins take places from 1 on and every item once, not {dict(self.pins)}")
        if not self.exclude.isdisjoint(items):
            raise ConfigError(f"{sorted(self.exclude.intersection(items))} cannot be both pinned and excluded")
        if self.text is not None and isinstance(self.diversify, Mmr):
            raise ConfigError("MMR weighs what the codes give; with a text, diversify by MaxPer")

    @classmethod
    def of(cls, user: str | None = None, **options: Unpack[Options]) -> Ask:
        """A question out of a caller's options. Raises `ConfigError`."""
        unknown = options.keys() - Options.__annotations__.keys()
        if unknown:
            raise ConfigError(f"a recommendation knows {', '.join(Options.__annotations__)}, not {sorted(unknown)}")
        history, pin, text = options.get("history"), options.get("pin") or {}, options.get("text")
        if isinstance(history, str):
            raise ConfigError("a history is a list of item ids, not one text")
        return cls(
            user=user,
            history=None if history is None else tuple(history),
            k=options.get("k", 10),
            page=options.get("page", 1),
            filter=parse_filter(options.get("filter")),
            exclude=frozenset(options.get("exclude", ())),
            exclude_seen=options.get("exclude_seen", False),
            boosts=parse_boosts(options.get("boost")),
            pins=dict(pin) if isinstance(pin, Mapping) else dict(enumerate(pin, start=1)),
            diversify=options.get("diversify"),
            text=Text(text) if isinstance(text, str) else text,
            explain=options.get("explain", False),
        )

    @property
    def length(self) -> int:
        """How far the list goes, up to the end of the page."""
        return self.k * self.page
