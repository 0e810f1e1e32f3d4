"""Finding things in a postings artifact. Titles and attributes are read once, when they are first asked for."""

from __future__ import annotations

import bisect
import functools
import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from sparcode_es.engines.base import ItemDocument
from sparcode_es.engines.conditions import Condition, holds, values_of
from sparcode_es.engines.embedded import EmbeddedEngine
from sparcode_es.engines.embedded_inspector import EmbeddedInspector
from sparcode_es.engines.local_source import POPULAR
from sparcode_es.engines.lookup import CANDIDATES, MOST_NAMED, Value, most_common, typed_words, words_of


class EmbeddedLookup:
    """See `sparcode_es.engines.lookup.Lookup`."""

    def __init__(self, engine: EmbeddedEngine) -> None:
        self._engine, self._artifact = engine, engine.artifact

    def users(self, beginning: str, count: int) -> list[str]:
        """See `Lookup.users`."""
        return self._artifact.user_ids.beginning(beginning, count)

    def items(self, text: str, count: int) -> list[ItemDocument]:
        """See `Lookup.items`."""
        if not text:
            return self._documents(self._popular[:count])
        item_ids, typed = self._artifact.item_ids, typed_words(text)
        own, begun = item_ids.find(text), [item_ids.find(item) for item in item_ids.beginning(text, CANDIDATES)]
        found = np.union1d(np.array(begun, dtype=np.int64), self._titles.with_beginnings(typed))
        # As `in_order` does, without the documents: whatever is typed first begins words of half a catalogue.
        whole, other = self._titles.counted(typed, found), found != (-1 if own is None else own)
        keys = (self._artifact.item_ranks[found], self._titles.lengths[found], self._places[found], -whole, other)
        return self._documents(item_ids.texts(found[np.lexsort(keys)[:count]]))

    def attributes(self) -> list[str]:
        """See `Lookup.attributes`."""
        return sorted(self._counts, key=str.encode)

    def values(self, name: str) -> list[Value]:
        """See `Lookup.values`."""
        return most_common(self._counts.get(name, {}))

    def names(self, terms: Sequence[str], generation: str | None = None) -> dict[str, str]:
        """See `Lookup.names`."""
        return {} if self._artifact.num_items > MOST_NAMED else EmbeddedInspector(self._engine).names(terms)

    def fits(self, condition: Condition) -> bool:
        """See `Lookup.fits`: documents are read up to the first that does."""
        artifact = self._artifact
        documents = ((artifact.item_ids[item], artifact.item_doc(item)) for item in range(artifact.num_items))
        return any(holds(condition, item, document["attributes"]) for item, document in documents)

    def _documents(self, items: list[str]) -> list[ItemDocument]:
        return list(self._engine.documents(items).values())

    @functools.cached_property
    def _popular(self) -> list[str]:
        return self._artifact.popular(POPULAR)

    @functools.cached_property
    def _places(self) -> np.ndarray:
        """Each item's place among the popular ones, int32 [I]; that after the last of all others."""
        places = np.full(self._artifact.num_items, len(self._popular), dtype=np.int32)
        for place, item in enumerate(self._popular):
            places[self._artifact.item_ids.find(item)] = place
        return places

    @functools.cached_property
    def _titles(self) -> Titles:
        return Titles(self._artifact.item_doc(item)["title"] or "" for item in range(self._artifact.num_items))

    @functools.cached_property
    def _counts(self) -> dict[str, Counter[str]]:
        """Attribute → value → items."""
        found: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for item in range(self._artifact.num_items):
            for name, value in self._artifact.item_doc(item)["attributes"].items():
                found[name].update(set(values_of(value)))
        return {name: counts for name, counts in found.items() if counts}


class Titles:
    """The words of all items' titles in order, and which items have each: a word, or its beginning, is found by bisection."""

    def __init__(self, titles: Iterable[str]) -> None:
        by_word: defaultdict[str, list[int]] = defaultdict(list)
        lengths = []
        for item, title in enumerate(titles):
            lengths.append(len(title))
            for word in set(words_of(title)):
                by_word[word].append(item)
        self.lengths = np.array(lengths, dtype=np.int32)
        """Characters, [I]."""
        self._words = sorted(by_word)
        counts = [len(by_word[word]) for word in self._words]
        self._offsets = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
        self._items = np.fromiter(
            itertools.chain.from_iterable(by_word[word] for word in self._words), np.uint32, sum(counts)
        )

    def with_beginnings(self, typed: Sequence[str]) -> np.ndarray:
        """The items each of these begins a word of whose title, uint32 [n], ascending; none where nothing is typed."""
        found = [np.unique(self._begun(word)) for word in typed]
        return functools.reduce(np.intersect1d, found) if found else self._items[:0]

    def counted(self, typed: Sequence[str], items: np.ndarray) -> np.ndarray:
        """How many of these are whole words of the titles of some items, int64 [n]."""
        return sum((np.isin(items, self._having(word)) for word in typed), np.zeros(len(items), dtype=np.int64))

    def _begun(self, beginning: str) -> np.ndarray:
        """The items of all words that begin so."""
        first = bisect.bisect_left(self._words, beginning)
        stop = bisect.bisect_right(self._words, beginning, first, key=lambda word: word[: len(beginning)])
        return self._items[self._offsets[first] : self._offsets[stop]]

    def _having(self, word: str) -> np.ndarray:
        """The items of this word."""
        first = bisect.bisect_left(self._words, word)
        stop = bisect.bisect_right(self._words, word, first)
        return self._items[self._offsets[first] : self._offsets[stop]]
