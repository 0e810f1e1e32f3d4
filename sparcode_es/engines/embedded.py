"""The engine in this process: a sum over memory-mapped postings, exact, with numpy only."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Iterator, Sequence
from typing import cast

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
        # Plain views of the maps: a slice of a memory map costs ten times one of these.
        self._items, self._grid = np.asarray(artifact.item_numbers), np.asarray(artifact.scores)
        self._offsets = artifact.code_offsets.astype(np.int64)
        self._attributes = Attributes(artifact)
        self._known_names: list[str | None] = [None] * artifact.num_items

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
            splits_seen=artifact.splits_seen,
        )

    def search(self, query: Query) -> list[Hit]:
        """See `Engine.search`. Costs grow with the postings of the query's codes, not with the items there are."""
        with self._summed(query) as (items, longest):
            return self._hits(*self._best(items, longest, query), query) if len(items) else []

    def scored(self, query: Query) -> tuple[np.ndarray, np.ndarray]:
        """All items that the query finds, whatever its k: numbers, int64 [n], ascending, and scores, float64 [n]."""
        with self._summed(query) as (items, _):
            found = _distinct(items)
            scores = self._sums.take(found)
        numbers = [number for item in query.exclude if (number := self.artifact.item_ids.find(item)) is not None]
        wanted = (scores > 0) & ~np.isin(found, np.array(numbers, dtype=np.int64))
        return found.compress(wanted), scores.compress(wanted)

    @contextlib.contextmanager
    def _summed(self, query: Query) -> Iterator[tuple[np.ndarray, int]]:
        """The items that the query touches, int64 [T], repeated, exclusions too, and how many of them, at the beginning, are
        distinct. Within, `_sums` holds their scores (Eq. 11), and no other thread has a turn."""
        if query.text is not None:
            raise ConfigError("the embedded engine has no index of titles; ask Elasticsearch for a text.")
        rows, boosts = self._clauses(query)
        if not len(rows):
            yield np.zeros(0, dtype=np.int64), 0
            return
        items, given, longest = self._gathered(rows, boosts)
        # Attributes are looked up before the turn: reading documents must not hold up those who need none.
        if query.filter:
            has = self._attributes.has(items, query.filter)
            items, given, longest = items.compress(has), given.compress(has), int(np.count_nonzero(has[:longest]))
        boosted = _distinct(items) if query.boosts else items[:0]
        factors = self._attributes.weights(boosted, query.boosts) if query.boosts else given[:0]
        sums = self._sums
        with self._turn:
            try:
                # In the order of the clauses, so that the sum is that of Eq. 11 term by term.
                np.add.at(sums, items, given)
                sums[boosted] *= factors
                yield items, longest
            finally:
                sums[items] = 0.0

    def _clauses(self, query: Query) -> tuple[np.ndarray, np.ndarray]:
        """The rows of the codes that count, int64 [c], and their boosts, float64 [c]."""
        wanted = [clause for clause in query.clauses if clause.boost > 0]
        rows = [self.artifact.term_rows.find(clause.term) for clause in wanted]
        boosts = [clause.boost for clause in wanted]
        if None in rows:
            known = [place for place, row in enumerate(rows) if row is not None]
            rows, boosts = [rows[place] for place in known], [boosts[place] for place in known]
        return np.array(rows, dtype=np.int64), np.array(boosts)

    def _gathered(self, rows: np.ndarray, boosts: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
        """The postings of some codes, one after another: item numbers int64 [T], boost × score float64 [T] (Eq. 11), and how
        many are the first code's."""
        starts, stops = self._offsets.take(rows), self._offsets.take(rows + 1)
        parts = list(map(slice, starts.tolist(), stops.tolist()))
        items = np.concatenate([self._items[part] for part in parts]).astype(np.int64)
        self.artifact.require_items(items)
        scores = from_grid(np.concatenate([self._grid[part] for part in parts]))
        lengths = stops - starts
        return items, scores * boosts.repeat(lengths), int(lengths[0])

    def _best(self, items: np.ndarray, longest: int, query: Query) -> tuple[np.ndarray, list[float]]:
        """The numbers of the k + excluded best items among `items` (int64 [T], repeated), best first, and their positive scores.

        longest: how many of them, at the beginning, are distinct.
        """
        sums, wanted = self._sums, query.k + len(query.exclude)
        values = sums.take(items)
        if longest > wanted:
            # The best of one clause's items alone have this much: no item with less is among the best of all.
            items = items.compress(values >= _least(values[:longest], wanted))
        found = _distinct(items)
        values = sums.take(found)
        if len(found) > wanted:
            # All items of the tie that the cut falls into, so that the identifiers decide.
            kept = values >= _least(values, wanted)
            found, values = found.compress(kept), values.compress(kept)
        order = np.lexsort((self.artifact.item_ranks.take(found), -values))[:wanted]
        values = values.take(order)
        # A boost so small that the product is 0 is no score.
        return found.take(order), values[values > 0].tolist()

    def _hits(self, items: np.ndarray, scores: list[float], query: Query) -> list[Hit]:
        """The first k of the best items that are not excluded. No more identifiers are read than needed."""
        pairs: list[tuple[str, float]] = []
        for start in range(0, len(scores), query.k):
            part = slice(start, start + query.k)
            found = zip(self._names(items[part]), scores[part], strict=False)
            pairs += [pair for pair in found if pair[0] not in query.exclude] if query.exclude else found
            if len(pairs) >= query.k:
                break
        # `Hit(*pair)` would run Python's own `__new__` k times; this is the tuple's, a third of the time.
        return list(map(tuple.__new__, itertools.repeat(Hit), pairs[: query.k]))

    def _names(self, items: np.ndarray) -> list[str]:
        """The identifiers of some items. Those that were returned once stay in memory, some 60 bytes each."""
        numbers, known = items.tolist(), self._known_names
        names = list(map(known.__getitem__, numbers))
        if None in names:
            new = np.array([number for number, name in zip(numbers, names, strict=True) if name is None])
            for number, name in zip(new.tolist(), self.artifact.item_ids.texts(new), strict=True):
                known[number] = name
            names = list(map(known.__getitem__, numbers))
        return cast("list[str]", names)

    def search_many(self, queries: Sequence[Query]) -> list[list[Hit]]:
        """See `Engine.search_many`."""
        return [self.search(query) for query in queries]

    def user(self, user_id: str) -> UserEntry:
        """See `Engine.user`."""
        entry = self.users([user_id]).get(user_id)
        if entry is None:
            raise NotFoundError(
                f"there is no user {user_id!r} in {self.artifact.path} ({self.artifact.num_users} users); "
                "for somebody new give --history and --checkpoint"
            )
        return entry

    def users(self, user_ids: Sequence[str]) -> dict[str, UserEntry]:
        """See `Engine.users`."""
        rows = {user_id: row for user_id in user_ids if (row := self.artifact.user_ids.find(user_id)) is not None}
        return {user_id: self._entry(row) for user_id, row in rows.items()}

    def _entry(self, row: int) -> UserEntry:
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
        return self._contributions(query, number)

    def explain_many(self, query: Query, items: Sequence[str]) -> dict[str, list[Contribution]]:
        """See `Engine.explain_many`."""
        numbers = {item: self.artifact.item_ids.find(item) for item in items}
        return {item: [] if number is None else self._contributions(query, number) for item, number in numbers.items()}

    def _contributions(self, query: Query, item: int) -> list[Contribution]:
        return [part for clause in query.clauses if (part := self._contribution(clause, item)) is not None]

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


def _least(values: np.ndarray, count: int) -> float:
    """The least of the `count` largest values."""
    values, place = values.copy(), len(values) - count
    values.partition(place)
    return float(values[place])


def _distinct(items: np.ndarray) -> np.ndarray:
    """The items without repetitions, ascending."""
    items = np.sort(items)
    first = np.ones(len(items), dtype=bool)
    np.not_equal(items[1:], items[:-1], out=first[1:])
    distinct: np.ndarray = items.compress(first)
    return distinct
