"""What is timed: a system answers asks, each of one kind, by number of the user."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from retrieval.postings import item_id
from retrieval.recipe import World
from sparcode_es.codes import clauses_of
from sparcode_es.engines.base import Query
from sparcode_es.engines.conditions import parse_filter

BATCH = 32
KS = (10, 50, 500)
K = 50


@dataclass(frozen=True)
class Ask:
    """One kind of request."""

    name: str
    k: int = K
    filter: tuple[tuple[str, str], ...] = ()
    exclude: bool = False
    """Leave out the user's 200 seen items."""
    batch: int = 1
    """Users a request."""


BARE = Ask("bare")
FILTERS = (Ask("filter 50 %", filter=(("half", "1"),)), Ask("filter 1 %", filter=(("hundredth", "7"),)))
EXCLUDED = Ask("200 excluded", exclude=True)
MANY = Ask(f"batch of {BATCH}", batch=BATCH)
ASKS = (BARE, *(Ask(f"k {k}", k) for k in KS if k != K), *FILTERS, EXCLUDED, MANY)


@dataclass(frozen=True)
class System:
    """One way to answer.

    answer: (ask, first user) → each user's best, in the system's own form; `numbers` makes item numbers of one user's. client: a
    new `answer` for one more client at the same time, None where one cannot be had.
    """

    name: str
    setting: str
    kind: str
    """`sparse` or `dense`: which scores it ranks by."""
    answer: Callable[[Ask, int], list[Any]]
    asks: tuple[str, ...]
    about: Mapping[str, Any] = field(default_factory=dict)
    """Megabytes, seconds to build, version, and so on."""
    client: Callable[[], Callable[[Ask, int], list[Any]]] | None = None
    numbers: Callable[[Any], Iterable[int]] = list

    @property
    def label(self) -> str:
        """Unique."""
        return f"{self.name}, {self.setting}" if self.setting else self.name


class Queries:
    """The users' questions in the forms that engines take."""

    def __init__(self, world: World, codes: Any) -> None:
        self.vectors = np.ascontiguousarray(world.user_vectors)
        self.seen = [frozenset(map(item_id, row)) for row in world.user_seen.tolist()]
        self.clauses = [clauses_of(codes, user, True) for user in range(len(codes))]

    def __len__(self) -> int:
        return len(self.clauses)

    def users(self, ask: Ask, first: int) -> list[int]:
        """The users of a request."""
        return [(first + place) % len(self) for place in range(ask.batch)]

    def query(self, ask: Ask, user: int, clauses: int | None = None) -> Query:
        """For our engines; clauses: only the first so many."""
        hidden = self.seen[user] if ask.exclude else frozenset()
        return Query(self.clauses[user][:clauses], ask.k, hidden, parse_filter(dict(ask.filter)))
