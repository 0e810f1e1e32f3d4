"""Finding things by what a person types: users by the beginning of an id, items by words of a title, values of an attribute.

Embedded and Elasticsearch ones find the same on the same artifact, in the same order (`tests/engines/test_lookup.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from sparcode_es.engines.base import ItemDocument
from sparcode_es.engines.conditions import Condition

SINGLE = "\u3040-\u309f\u3400-\u9fff\uf900-\ufaff"
"""Hiragana and ideographs, each a word of its own to Lucene's standard analyzer."""
WORD = re.compile(rf"[{SINGLE}]|[^\W{SINGLE}]+(?:(?:['’.]|(?<=\d),(?=\d))[^\W{SINGLE}]+)*")
MOST_WORDS = 10
CANDIDATES = 200
"""Items that are put in order; of more, those with most whole words, equal ones by id."""
MOST_VALUES = 1000
MOST_NAMED = 100_000
"""Items of an artifact all of which are read to name a code: about a second."""


class Value(NamedTuple):
    """A value of an attribute, and how many items have it."""

    text: str
    items: int


class Lookup(Protocol):
    """Finds what one engine holds."""

    def users(self, beginning: str, count: int) -> list[str]:
        """The first `count` user ids, in byte order, that begin so."""
        ...

    def items(self, text: str, count: int) -> list[ItemDocument]:
        """At most `count` items each word of the text begins a word of whose title, or whose id the text begins.

        First the item with that id, then those with more whole words, more popular ones, shorter titles. Without any word:
        the most popular items.
        """
        ...

    def attributes(self) -> list[str]:
        """The names of the items' attributes, in byte order."""
        ...

    def values(self, name: str) -> list[Value]:
        """The `MOST_VALUES` values of an attribute that most items have, most first, equal ones in byte order."""
        ...

    def names(self, terms: Sequence[str], generation: str | None = None) -> dict[str, str]:
        """Term → readable name of those codes that have one, as `inspect` shows it. {} where that is not at hand: more than
        `MOST_NAMED` items in an artifact, a generation without a codes index."""
        ...

    def fits(self, condition: Condition) -> bool:
        """Whether any item fits a condition, which is no `Dsl`."""
        ...


def words_of(text: str) -> list[str]:
    """The words of a text, in small letters, nearly as Lucene's standard analyzer makes them."""
    return [word.lower() for word in WORD.findall(text)]


def typed_words(text: str) -> list[str]:
    """The distinct words of what was typed, the first `MOST_WORDS`."""
    return list(dict.fromkeys(words_of(text)))[:MOST_WORDS]


def in_order(found: Iterable[ItemDocument], text: str, popular: Sequence[str]) -> list[ItemDocument]:
    """Items as `Lookup.items` lists them. popular: ids, most popular first."""
    wanted, places = set(typed_words(text)), {item: place for place, item in enumerate(popular)}

    def key(document: ItemDocument) -> tuple[bool, int, int, int, bytes]:
        title = document.title or ""
        whole = len(wanted.intersection(words_of(title)))
        place = places.get(document.item, len(places))
        return document.item != text, -whole, place, len(title), document.item.encode("utf-8", "surrogatepass")

    return sorted(found, key=key)


def most_common(counts: Mapping[str, int]) -> list[Value]:
    """Values as `Lookup.values` lists them."""
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0].encode("utf-8", "surrogatepass")))
    return [Value(text, count) for text, count in ordered[:MOST_VALUES]]
