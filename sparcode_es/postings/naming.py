"""A readable name for a code: what its best items have in common that the catalogue has not, such as `Sci-Fi 70s · Star Wars`.

Attribute values and phrases of titles are compared by lift, (share among the best items) / (share in the catalogue); the one
that counts most is that with the largest n × ln(lift). Everything is counted and ties are broken by text: the same artifact
gives the same names.
"""

from __future__ import annotations

import functools
import itertools
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from sparcode_es.postings.artifact import Artifact
from sparcode_es.postings.frequent import Frequent

NAMED_BY = 20
"""Best items that a code is named by."""
LONGEST = 48
"""Characters of a part of a name."""
Feature = tuple[str, str]
"""An attribute's name and value, or "" and a phrase of titles in lower case."""
DECADE = "decade"
YEAR = re.compile(r"(1[89]|20)\d\d")
NUMBER = re.compile(r"[-+]?\d+([.,]\d+)?|[Tt]rue|[Ff]alse")
BREAK = re.compile(r"[^\w\s'’&+.-]+|\s[-–—]+\s")
WORD = re.compile(r"\w+(?:['’&+.-]+\w+)*")
EMPTY = frozenset(
    "a an and at by for from in is it its my of on or that the this to with your".split()  # noqa: SIM905
)
"""Words that no phrase begins or ends with, beyond those that lift finds out."""
PAIR = 1.25
"""How much more two words count than one that is as frequent."""
LONGEST_TITLE = 24
"""Words of a title that are read."""
MOST = 1 << 20
"""Attribute values and phrases that are counted exactly: those of some 100,000 long titles."""


class Catalogue:
    """How many of the I items have each attribute value and each phrase of one or two words in their title.

    Exact up to `most` different ones, some 200 bytes each. Of a catalogue with more, rare ones count a little too much.
    """

    def __init__(self, artifact: Artifact, most: int = MOST) -> None:
        self._artifact = artifact
        self._features = functools.lru_cache(maxsize=1 << 14)(self._read)
        self.title = functools.lru_cache(maxsize=1 << 16)(self._title)
        self._counts: Frequent[Feature] = Frequent(most)
        for item in range(artifact.num_items):
            self._counts.add(self._read(item))
        # What one item alone has is common to nothing.
        self._counts.forget()

    def _read(self, item: int) -> frozenset[Feature]:
        document = self._artifact.item_doc(item)
        attributes = document.get("attributes") or {}
        return frozenset([*attribute_features(attributes), *(("", each) for each in phrases(document.get("title")))])

    def _title(self, item: int) -> str | None:
        """The title of an item number, None when it has none."""
        title: str | None = self._artifact.item_doc(item).get("title")
        return title

    def name(self, items: Sequence[int]) -> str | None:
        """A name for what some items have in common, best item first; None when there is nothing to say."""
        items = items[:NAMED_BY]
        if not len(items):
            return None
        lifts = self._lifts(items)
        attributes = self._attributes(lifts, len(items))
        said = " ".join(attributes)
        phrase = self._phrase(lifts, items, set(said.casefold().split())) or self.title(int(items[0])) or ""
        return " · ".join(short(part) for part in (said, phrase) if part.strip()) or None

    def _lifts(self, items: Sequence[int]) -> dict[Feature, tuple[int, float]]:
        """Feature → how many of the items have it, and its lift; those of more than one item."""
        seen = Counter(feature for item in items for feature in self._features(int(item)))
        scale = self._artifact.num_items / len(items)
        return {each: (n, n * scale / self._counts[each]) for each, n in seen.items() if n > 1}

    def _attributes(self, lifts: dict[Feature, tuple[int, float]], count: int) -> list[str]:
        """The values of at most two attributes that a third of the items share, the strongest first, a decade last."""
        found: dict[str, str] = {}
        for (attribute, value), (n, lift) in _strongest(lifts):
            if attribute and attribute not in found and n * 3 >= count and lift >= 1.5 and len(found) < 2:
                found[attribute] = f"{attribute}={value}" if NUMBER.fullmatch(value) else value
        return [value for _, value in sorted(found.items(), key=lambda each: each[0] == DECADE)]

    def _phrase(self, lifts: dict[Feature, tuple[int, float]], items: Sequence[int], said: set[str]) -> str | None:
        """The strongest phrase of an eighth of the items' titles, as the best of them writes it; not what is `said` already."""
        for (attribute, text), (n, lift) in _strongest(lifts):
            words = text.split()
            if attribute or n * 8 < len(items) or lift < 2 or said.issuperset(words):
                continue
            # A phrase that begins or ends with a word of no weight, such as "of the", is none.
            if all(word not in EMPTY and lifts.get(("", word), (0, 0.0))[1] >= 1.5 for word in (words[0], words[-1])):
                return next((found for item in items if (found := phrases(self.title(int(item))).get(text))), None)
        return None


def attribute_features(attributes: dict[str, Any]) -> Iterator[Feature]:
    """(name, value) of every attribute, a list's values one by one; a year as its decade."""
    for name, value in attributes.items():
        for each in value if isinstance(value, list) else [value]:
            text = " ".join(str(each).split())
            if YEAR.fullmatch(text):
                yield DECADE, _decade(int(text))
            elif text and each is not None:
                yield name, text


def _decade(year: int) -> str:
    """`70s`, or `2010s` and `1890s` where the century is not plain."""
    return f"{year // 10 % 10 * 10}s" if 1910 <= year < 2000 else f"{year // 10 * 10}s"


def phrases(title: str | None) -> dict[str, str]:
    """The words and pairs of words of a title, without numbers and across no punctuation: lower case → as written."""
    found: dict[str, str] = {}
    for part in BREAK.split(title or ""):
        words = [word for word in WORD.findall(part)[:LONGEST_TITLE] if not word.isdigit()]
        for text in [*(word for word in words if len(word) > 1), *map(" ".join, itertools.pairwise(words))]:
            found.setdefault(text.casefold(), text)
    return found


def short(text: str) -> str:
    """A text on one line, of at most `LONGEST` characters."""
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else text[: LONGEST - 1].rstrip() + "…"


def _strongest(lifts: dict[Feature, tuple[int, float]]) -> list[tuple[Feature, tuple[int, float]]]:
    """By n × ln(lift), a little more for a pair of words; then by text."""

    def strength(feature: Feature, n: int, lift: float) -> float:
        return round(n * math.log(lift) * (PAIR if not feature[0] and " " in feature[1] else 1.0), 9)

    return sorted(lifts.items(), key=lambda each: (-strength(each[0], *each[1]), each[0]))
