"""The engine in this process: a sum over memory-mapped postings, exact, with numpy only."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence

import numpy as np

from sparcode_es.codes import is_item_term
from sparcode_es.engines.attributes import Attributes
from sparcode_es.engines.base import Clause, Contribution, EngineInfo, Hit, ItemDocument, Query, UserEntry
from sparcode_es.errors import NotFoundError
from sparcode_es.postings.artifact import Artifact
from sparcode_es.postings.grid import from_grid


class EmbeddedEngine:
    """Answers from a postings artifact. Sums in float64, clauses in the query's order. Not safe for several threads."""

    def __init__(self, artifact: Artifact) -> None:
        self.artifact = artifact
        # One sum an item, zero between queries: only the items that a query touched are cleared.
        self._sums = np.zeros(artifact.num_items)
        # Plain views of the maps: a slice of a memory map costs ten times one of these.
        self._items, self._grid = np.asarray(artifact.item_numbers), np.asarray(artifact.scores)
        self._offsets = np.asarray(artifact.code_offsets)
        self._attributes = Attributes(artifact)

    @functools.cached_property
    def _rank(self) -> np.ndarray:
        """Each item's place in byte order of the identifiers, uint32 [I]."""
        order = np.asarray(self.artifact.item_ids.order())
        rank = np.empty(len(order), dtype=np.uint32)
        rank[order] = np.arange(len(order), dtype=np.uint32)
        return rank

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
        )

    def search(self, query: Query) -> list[Hit]:
        """See `Engine.search`. Costs grow with the postings of the query's codes, not with the items there are."""
        parts = self._parts(query)
        if not parts:
            return []
        items, weights = self._gathered(parts)
        sums = self._sums
        try:
            # In the order of the clauses, so that the sum is that of Eq. 11 term by term.
            np.add.at(sums, items, weights)
            best = self._best(items, len(parts), query)
            return self._hits(best, sums[best], query)
        finally:
            sums[items] = 0.0

    def _parts(self, query: Query) -> list[tuple[int, int, float]]:
        """Where the postings of each clause begin and end, and its boost."""
        offsets, found = self._offsets, []
        for clause in query.clauses:
            row = self.artifact.code_row(clause.term)
            if row is not None and clause.boost > 0:
                found.append((int(offsets[row]), int(offsets[row + 1]), clause.boost))
        return found

    def _gathered(self, parts: list[tuple[int, int, float]]) -> tuple[np.ndarray, np.ndarray]:
        """The postings of all clauses, one after another: item numbers int64 [T], boost × score float64 [T] (Eq. 11)."""
        items = np.concatenate([self._items[start:stop] for start, stop, _ in parts]).astype(np.int64)
        scores = from_grid(np.concatenate([self._grid[start:stop] for start, stop, _ in parts]))
        boosts = np.repeat([boost for *_, boost in parts], [stop - start for start, stop, _ in parts])
        return items, scores * boosts

    def _best(self, items: np.ndarray, clauses: int, query: Query) -> np.ndarray:
        """The numbers of the k + excluded best items among `items` (int64 [T], repeated), best first."""
        if query.filter:
            items = self._attributes.keep(items, query.filter)
        wanted, sums = query.k + len(query.exclude), self._sums
        # An item stands at most once a clause: among the best `wanted` × clauses entries are `wanted` items, with their ties.
        found = _distinct(_upper(items, sums.take(items), wanted * clauses))
        found = found[sums[found] > 0]
        found = _upper(found, sums[found], wanted)
        return found[np.lexsort((self._rank[found], -sums[found]))][:wanted]

    def _hits(self, items: np.ndarray, scores: np.ndarray, query: Query) -> list[Hit]:
        """The first k hits that are not excluded."""
        hits = map(Hit, self.artifact.item_ids.texts(items), scores.tolist())
        if query.exclude:
            hits = (hit for hit in hits if hit.item not in query.exclude)
        return list(itertools.islice(hits, query.k))

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


def _upper(items: np.ndarray, values: np.ndarray, count: int) -> np.ndarray:
    """Those of `items` whose values are among the `count` largest, with all that equal the least of them."""
    if count >= len(items):
        return items
    upper: np.ndarray = items[values >= np.partition(values, len(values) - count)[len(values) - count]]
    return upper


def _distinct(items: np.ndarray) -> np.ndarray:
    """The items without repetitions, ascending."""
    items = np.sort(items)
    first = np.ones(len(items), dtype=bool)
    np.not_equal(items[1:], items[:-1], out=first[1:])
    distinct: np.ndarray = items[first]
    return distinct
