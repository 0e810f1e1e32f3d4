"""What an engine is: it answers boosted sums of codes over one postings artifact (Eq. 11).

Every engine returns Σ boost × score(code, item) over the query's clauses, on the same rounded scores, in the same order:
descending score, equal scores by the item id's UTF-8 bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from sparcode_es.codes import Clause
from sparcode_es.engines.conditions import Boost, Condition
from sparcode_es.engines.plans import Plan
from sparcode_es.errors import ConfigError, SparcodeError

__all__ = [
    "Clause",
    "Contribution",
    "Engine",
    "EngineInfo",
    "Hit",
    "ItemDocument",
    "Query",
    "Source",
    "Text",
    "UserEntry",
]


@dataclass(frozen=True)
class Text:
    """Words to look for in the titles, beside the codes: score = codes_weight × Σ boost × posting + weight × BM25(title)."""

    words: str
    weight: float = 1.0
    codes_weight: float = 1.0
    required: bool = False
    """Whether only items with one of the words in their title are wanted."""

    def __post_init__(self) -> None:
        if not self.words.strip() or not (0 < self.weight < 1e6 and 0 < self.codes_weight < 1e6):
            raise ConfigError(f"a text needs words, and weights between 0 and a million, not {self}")


@dataclass(frozen=True)
class Query:
    """The k best items of a boosted sum of codes, less some items, among those that have some attributes."""

    clauses: tuple[Clause, ...]
    k: int = 10
    exclude: frozenset[str] = frozenset()
    """Item ids that are not wanted."""
    filter: tuple[Condition, ...] = ()
    """All must hold (see `sparcode_es.engines.conditions`)."""
    boosts: tuple[Boost, ...] = ()
    """Each that an item has multiplies its score."""
    text: Text | None = None
    """Elasticsearch alone."""
    generation: str | None = None
    """The items index to ask; None: what the alias stands for. Other engines have one generation only."""

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
    generation: str | None = field(default=None, compare=False)
    """The items index that these codes belong to, where an engine has several."""


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
    artifact: str
    """The generation hash of the artifact that it holds."""
    field_type: str | None = None
    splits_seen: tuple[str, ...] = ()
    """See `Artifact.splits_seen`: what is measured on them looks better than it is."""


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

    def users(self, user_ids: Sequence[str]) -> dict[str, UserEntry]:
        """Those of some users that are known, by id: one request, however many, where there are requests."""
        ...

    def documents(self, items: Sequence[str]) -> dict[str, ItemDocument]:
        """The documents of those items that the index holds, by item id."""
        ...

    def code_items(self, terms: Sequence[str]) -> dict[str, ItemDocument]:
        """The items that item codes and repeat codes stand for, by term; terms of other codes are left out."""
        ...

    def explain(self, query: Query, item: str) -> list[Contribution]:
        """The clauses that hit the item, in the query's order; Σ boost × score is its score, before the query's boosts and
        text. Raises `NotFoundError`."""
        ...

    def explain_many(self, query: Query, items: Sequence[str]) -> dict[str, list[Contribution]]:
        """`explain` for several items at once, by id; an item that nothing hits, or that there is not, has an empty list."""
        ...

    def request(self, query: Query) -> str | None:
        """The request as one would paste it into Kibana's Dev Tools; None where there is no such thing."""
        ...

    def close(self) -> None:
        """Give back connections and memory."""
        ...


class Source(Protocol):
    """An engine whose answers may take requests, and may be of several generations: every method is a plan."""

    @property
    def kind(self) -> str:
        """`embedded` or `elasticsearch`."""
        ...

    @property
    def name(self) -> str:
        """The alias, or the artifact's folder by its name."""
        ...

    def info(self, generation: str | None = None) -> Plan[EngineInfo]:
        """What a generation holds, by default the live one."""
        ...

    def users(self, user_ids: Sequence[str]) -> Plan[dict[str, UserEntry]]:
        """Those users that the index knows, by id."""
        ...

    def search_many(self, queries: Sequence[Query]) -> Plan[list[list[Hit] | SparcodeError]]:
        """`Engine.search` for each query, in order, or why one of them has no answer."""
        ...

    def documents(self, items: Sequence[str], generation: str | None = None) -> Plan[dict[str, ItemDocument]]:
        """See `Engine.documents`."""
        ...

    def code_items(self, terms: Sequence[str], generation: str | None = None) -> Plan[dict[str, ItemDocument]]:
        """See `Engine.code_items`."""
        ...

    def contributions(self, query: Query, items: Sequence[str]) -> Plan[dict[str, list[Contribution]]]:
        """See `Engine.explain_many`."""
        ...

    def popular(self, generation: str | None = None) -> Plan[tuple[str, ...]]:
        """The items that most users have seen, most first."""
        ...
