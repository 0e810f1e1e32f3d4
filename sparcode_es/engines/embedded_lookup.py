"""Finding things in a postings artifact. Titles and attributes are read once, when they are first asked for."""

from __future__ import annotations

import functools
from collections import Counter, defaultdict
from collections.abc import Sequence

from sparcode_es.engines.base import ItemDocument
from sparcode_es.engines.conditions import Condition, holds, values_of
from sparcode_es.engines.embedded import EmbeddedEngine
from sparcode_es.engines.local_source import POPULAR
from sparcode_es.engines.lookup import CANDIDATES, MOST_NAMED, Value, in_order, most_common, typed_words, words_of
from sparcode_es.postings.profile import Profiler


class EmbeddedLookup:
    """See `sparcode_es.engines.lookup.Lookup`."""

    def __init__(self, engine: EmbeddedEngine) -> None:
        self._engine, self._artifact = engine, engine.artifact

    def users(self, beginning: str, count: int) -> list[str]:
        """See `Lookup.users`."""
        return self._artifact.user_ids.beginning(beginning, count)

    def items(self, text: str, count: int) -> list[ItemDocument]:
        """See `Lookup.items`."""
        typed = typed_words(text)
        if not text:
            return self._documents(self._popular[:count])
        ids = self._artifact.item_ids.beginning(text, CANDIDATES)
        found = [number for number, words in enumerate(self._words) if typed and _begin(typed, words)]
        names = dict.fromkeys([*ids, *(self._artifact.item_ids[number] for number in found)])
        return in_order(self._documents(list(names)), text, self._popular)[:count]

    def attributes(self) -> list[str]:
        """See `Lookup.attributes`."""
        return sorted(self._counts, key=str.encode)

    def values(self, name: str) -> list[Value]:
        """See `Lookup.values`."""
        return most_common(self._counts.get(name, {}))

    def names(self, terms: Sequence[str], generation: str | None = None) -> dict[str, str]:
        """See `Lookup.names`."""
        rows = {term: row for term in terms if (row := self._artifact.code_row(term)) is not None}
        if not rows or self._artifact.num_items > MOST_NAMED:
            return {}
        profiler = Profiler(self._artifact)
        return {term: profiler.name(row) for term, row in rows.items()}

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
    def _words(self) -> list[list[str]]:
        """The words of each item's title."""
        titles = (self._artifact.item_doc(item)["title"] for item in range(self._artifact.num_items))
        return [words_of(title or "") for title in titles]

    @functools.cached_property
    def _counts(self) -> dict[str, Counter[str]]:
        """Attribute → value → items."""
        found: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for item in range(self._artifact.num_items):
            for name, value in self._artifact.item_doc(item)["attributes"].items():
                found[name].update(set(values_of(value)))
        return {name: counts for name, counts in found.items() if counts}


def _begin(typed: list[str], words: list[str]) -> bool:
    """Whether each typed word begins one of a title's."""
    return all(any(word.startswith(each) for word in words) for each in typed)
