"""What an engine tells of what lies in it: codes, an item's postings, the reasons of a score, what is dead, all contents.

`Engine` answers queries; an `Inspector` answers the people who look after them. Embedded and Elasticsearch ones give the same
answers on the same artifact (`tests/engines/test_inspector.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from sparcode_es.engines.base import Contribution, Engine, Query
from sparcode_es.postings.profile import CodeProfile

FLOAT64 = "float64, one value after the other in the query's order"
FLOAT32 = "float32: each value is rounded to it, and so is their sum"


@dataclass(frozen=True)
class Part:
    """What one code gave an item."""

    contribution: Contribution
    value: float
    """boost × score, as the engine rounds it."""


@dataclass(frozen=True)
class Reasons:
    """Why an item has its score."""

    score: float
    """What the engine answers for the item; 0 when none of the query's codes has a posting for it."""
    parts: tuple[Part, ...]
    """In the query's order."""
    total: float
    """The parts' values added up as the engine does; equal to `score`, to the last digit, where the query boosts nothing."""
    arithmetic: str
    """How they are added up."""


@dataclass(frozen=True)
class Group:
    """Some things: how many, and the first of them in byte order."""

    count: int
    examples: tuple[str, ...] = ()


def group(names: Iterable[str], examples: int) -> Group:
    """Some names, counted, the first `examples` of them in byte order."""
    ordered = sorted(names, key=lambda name: name.encode("utf-8", "surrogatepass"))
    return Group(len(ordered), tuple(ordered[:examples]))


@dataclass(frozen=True)
class Dead:
    """What no query can make use of."""

    codes_without_users: dict[str, Group]
    """By kind: no user that is known has the code; somebody new may."""
    codes_without_items: dict[str, Group]
    """By kind: a query by the code alone finds nothing."""
    items_without_postings: Group
    """No query finds the item."""


class Inspector(Protocol):
    """Looks into what one engine holds."""

    @property
    def engine(self) -> Engine:
        """The engine that answers queries from the same place."""
        ...

    def codes(self, terms: Sequence[str]) -> dict[str, CodeProfile]:
        """The profiles of those codes that the engine has, by term."""
        ...

    def names(self, terms: Sequence[str]) -> dict[str, str]:
        """The readable names of those codes that the engine has, by term: what `codes` calls them, for much less."""
        ...

    def busiest(self, count: int) -> list[CodeProfile]:
        """The codes with most traffic, equal ones by users, then by term."""
        ...

    def item_postings(self, item: str) -> dict[str, float]:
        """Every code with a posting for the item, and its score, best first, ties by term. Raises `NotFoundError`."""
        ...

    def own_code(self, item: str) -> CodeProfile | None:
        """The code that an item is in a history, None where it has none."""
        ...

    def reasons(self, query: Query, item: str) -> Reasons:
        """Why the item has its score, exclusions and filters aside. Raises `NotFoundError`."""
        ...

    def added(self, found: Sequence[Contribution]) -> tuple[tuple[Part, ...], float]:
        """Contributions, in the query's order, with their values and the sum of these, as the engine rounds them."""
        ...

    @property
    def arithmetic(self) -> str:
        """How values are rounded and added up, in words."""
        ...

    def ahead(self, query: Query, item: str, score: float) -> int:
        """How many items a query's ranking has before an item of this score, exclusions and filters heeded."""
        ...

    def passes(self, query: Query, item: str) -> bool:
        """Whether the query finds the item at all, its exclusions and filters heeded."""
        ...

    def dead(self, examples: int) -> Dead:
        """What no query can make use of, with some examples."""
        ...


class Contents(Protocol):
    """Everything of one generation or artifact, to compare it with another's."""

    label: str
    """The generation's index, or the artifact's folder."""
    model_hash: str
    codebook_hash: str

    def items(self) -> dict[str, str]:
        """Item id → a digest of its document."""
        ...

    def codes(self) -> dict[str, tuple[int, str]]:
        """Term → postings, and the fingerprint of the row."""
        ...

    def row(self, term: str) -> Iterator[tuple[str, float]]:
        """The postings of a code: item id, score."""
        ...
