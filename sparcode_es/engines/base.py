"""What an engine is: it answers boosted sums of codes over one postings artifact (Eq. 11).

Every engine returns Σ boost × score(code, item) over the query's clauses, on the same rounded scores, in the same order:
descending score, equal scores by the item id's UTF-8 bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from sparcode_es.codes import Clause

__all__ = [
    "Clause",
    "Contribution",
    "Engine",
    "EngineInfo",
    "Hit",
    "ItemDocument",
    "Query",
    "UserEntry",
]


@dataclass(frozen=True)
class Query:
    """The k best items of a boosted sum of codes, less some items, among those that have some attributes."""

    clauses: tuple[Clause, ...]
    k: int = 10
    exclude: frozenset[str] = frozenset()
    """Item ids that are not wanted."""
    filter: tuple[tuple[str, str], ...] = ()
    """(attribute, value) pairs; all must hold. A list attribute holds when the value is one of its values."""

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"k must be at least 1, not {self.k}")


class Hit(NamedTuple):
    """An item that an engine returned. A tuple: made twice as fast as a frozen dataclass, k times a query."""

    item: str
    score: float


@dataclass(frozen=True)
class Contribution:
    """What one clause gave an item: boost × score."""

    term: str
    boost: float
    score: float


@dataclass(frozen=True)
class ItemDocument:
    """What is shown of an item."""

    item: str
    title: str | None
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class UserEntry:
    """What the index knows of a user: the codes, and the items already seen, oldest first."""

    clauses: tuple[Clause, ...]
    seen: tuple[str, ...] = ()


@dataclass(frozen=True)
class EngineInfo:
    """Which engine answers, from where, and whose codes it holds."""

    engine: str
    where: str
    generation: str
    model_hash: str
    codebook_hash: str
    num_items: int
    num_users: int
    field_type: str | None = None


class Engine(Protocol):
    """Any place that answers queries. All of them pass one contract suite, `tests/engines/test_contract.py`."""

    def info(self) -> EngineInfo:
        """Which engine this is and what it holds."""
        ...

    def search(self, query: Query) -> list[Hit]:
        """At most `query.k` items with a positive score (Eq. 11), best first, ties by item id (UTF-8 byte order)."""
        ...

    def search_many(self, queries: Sequence[Query]) -> list[list[Hit]]:
        """`search` for each query, in order."""
        ...

    def user(self, user_id: str) -> UserEntry:
        """A known user's codes and seen items. Raises `NotFoundError`."""
        ...

    def documents(self, items: Sequence[str]) -> dict[str, ItemDocument]:
        """The documents of those items that the index holds, by item id."""
        ...

    def code_items(self, terms: Sequence[str]) -> dict[str, ItemDocument]:
        """The items that item codes stand for, by term; terms of other codes are left out."""
        ...

    def explain(self, query: Query, item: str) -> list[Contribution]:
        """The clauses that hit the item, in the query's order; Σ boost × score is its score. Raises `NotFoundError`."""
        ...

    def request(self, query: Query) -> str | None:
        """The request as one would paste it into Kibana's Dev Tools; None where there is no such thing."""
        ...

    def close(self) -> None:
        """Give back connections and memory."""
        ...
