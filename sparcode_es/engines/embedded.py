"""The engine in this process: a sum over memory-mapped postings, exact, with numpy only."""

from __future__ import annotations

import functools
import threading
from collections.abc import Sequence

import numpy as np

from sparcode_es.codes import is_item_term
from sparcode_es.engines.attributes import Attributes
from sparcode_es.engines.base import Clause, Contribution, EngineInfo, Hit, ItemDocument, Query, UserEntry
from sparcode_es.errors import ConfigError, NotFoundError
from sparcode_es.postings.artifact import Artifact
from sparcode_es.postings.grid import from_grid


class EmbeddedEngine:
    """Answers from a postings artifact. Sums in float64, clauses in the query's order. Threads take turns."""

    def __init__(self, artifact: Artifact) -> None:
        self.artifact = artifact
        self._turn = threading.Lock()
        # One sum an item, zero between queries: only the items that a query touched are cleared.
        self._sums = np.zeros(artifact.num_items)

    @functools.cached_property
    def _rank(self) -> np.ndarray:
        """Each item's place in byte order of the identifiers, uint32 [I]."""
        order = np.asarray(self.artifact.item_ids.order())
        rank = np.empty(len(order), dtype=np.uint32)
        rank[order] = np.arange(len(order), dtype=np.uint32)
        return rank

    @functools.cached_property
    def _attributes(self) -> Attributes:
        return Attributes(self.artifact)

    def info(self) -> EngineInfo:
        """What the artifact holds."""
        artifact = self.artifact
        return EngineInfo(
            engine="embedded",
            where=str(artifact.path),
            generation=artifact.generation_hash,
            model_hash=artifact.model_hash,
            codebook_hash=artifact.codebook_hash,
            num_items=artifact.num_items,
            num_users=artifact.num_users,
            artifact=artifact.generation_hash,
        )

    def search(self, query: Query) -> list[Hit]:
        """See `Engine.search`."""
        if query.text is not None:
            raise ConfigError("the embedded engine has no index of titles; ask Elasticsearch for a text.")
        with self._turn:
            return self._search(query)

    def _search(self, query: Query) -> list[Hit]:
        sums = self._sums
        touched = []
        try:
            for clause in query.clauses:
                row = self.artifact.code_row(clause.term)
                if row is not None and clause.boost > 0:
                    items, grid = self.artifact.postings(row)
                    touched.append(items)
                    # Item numbers are distinct within a code, so that a plain indexed addition counts each one.
                    sums[items] += from_grid(grid).astype(np.float64) * clause.boost  # Eq. 11
            if query.boosts:
                sums *= self._attributes.weights(query.boosts)
            if query.filter:
                sums[~self._attributes.allowed(query.filter)] = 0.0
            self._strike_out(query.exclude)
            return self._hits(self._best(query.k), sums)
        finally:
            for items in touched:
                sums[items] = 0.0

    def _strike_out(self, items: frozenset[str]) -> None:
        for item in items:
            number = self.artifact.item_ids.find(item)
            if number is not None:
                self._sums[number] = 0.0

    def _best(self, k: int) -> np.ndarray:
        """The numbers of the items to return, best first."""
        if k < len(self._sums):
            threshold = self._sums[np.argpartition(self._sums, -k)[-k]]
            # All items of the tie that the cut falls into, so that the identifiers decide.
            found = np.flatnonzero(self._sums >= threshold) if threshold > 0 else np.flatnonzero(self._sums)
        else:
            found = np.flatnonzero(self._sums)
        best: np.ndarray = found[np.lexsort((self._rank[found], -self._sums[found]))][:k]
        return best

    def _hits(self, items: np.ndarray, sums: np.ndarray) -> list[Hit]:
        return [Hit(self.artifact.item_ids[int(item)], float(sums[item])) for item in items]

    def search_many(self, queries: Sequence[Query]) -> list[list[Hit]]:
        """See `Engine.search_many`."""
        return [self.search(query) for query in queries]

    def user(self, user_id: str) -> UserEntry:
        """See `Engine.user`."""
        row = self.artifact.user_ids.find(user_id)
        if row is None:
            raise NotFoundError(
                f"there is no user {user_id!r} in {self.artifact.path} ({self.artifact.num_users} users); "
                "for somebody new give --history and --checkpoint"
            )
        seen = tuple(self.artifact.item_ids[int(item)] for item in self.artifact.user_seen(row))
        return UserEntry(tuple(self.artifact.user_clauses(row)), seen)

    def documents(self, items: Sequence[str]) -> dict[str, ItemDocument]:
        """See `Engine.documents`."""
        found = {}
        for item in items:
            number = self.artifact.item_ids.find(item)
            if number is not None:
                document = self.artifact.item_doc(number)
                found[item] = ItemDocument(item, document["title"], document["attributes"])
        return found

    def code_items(self, terms: Sequence[str]) -> dict[str, ItemDocument]:
        """See `Engine.code_items`."""
        found = {}
        for term in terms:
            row = self.artifact.code_row(term)
            if row is not None and is_item_term(term):
                item = self.artifact.item_ids[int(self.artifact.codes[row, 1])]
                found[term] = self.documents([item])[item]
        return found

    def explain(self, query: Query, item: str) -> list[Contribution]:
        """See `Engine.explain`."""
        number = self.artifact.item_ids.find(item)
        if number is None:
            raise NotFoundError(f"there is no item {item!r} in {self.artifact.path}")
        return [part for clause in query.clauses if (part := self._contribution(clause, number)) is not None]

    def _contribution(self, clause: Clause, item: int) -> Contribution | None:
        row = self.artifact.code_row(clause.term)
        if row is None or clause.boost <= 0:
            return None
        items, grid = self.artifact.postings(row)
        place = int(np.searchsorted(items, item))
        if place == len(items) or items[place] != item:
            return None
        return Contribution(clause.term, clause.boost, float(from_grid(grid[place : place + 1])[0]))

    def request(self, query: Query) -> str | None:
        """None: there is no request to show."""
        return None

    def close(self) -> None:
        """Nothing to give back: the maps go with the artifact."""
