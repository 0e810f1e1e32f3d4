"""What a code is to a person: one small record a code, from the postings artifact alone."""

from __future__ import annotations

import functools
import hashlib
import heapq
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from sparcode_es.codes import in_words, of_items
from sparcode_es.postings.artifact import Artifact
from sparcode_es.postings.grid import from_grid
from sparcode_es.postings.naming import NAMED_BY, Catalogue, short
from sparcode_es.postings.neighbours import BLOCK, Neighbours
from sparcode_es.postings.survey import QUANTILES, Survey, best_items, survey

TOP_ITEMS = 10
LEARNED, ITEM = "learned", "item"


@dataclass(frozen=True)
class TopItem:
    """One of a code's best items."""

    item: str
    title: str | None
    score: float


@dataclass(frozen=True)
class Neighbour:
    """A code whose posting row looks alike."""

    code: str
    cosine: float


@dataclass(frozen=True)
class CodeProfile:
    """A code, as it is shown and as it lies in the codes index."""

    code: str
    """The term."""
    kind: str
    """`learned` (of the quantizer) or `item` (an item of the history that stands for itself)."""
    name: str
    """What its best items have in common; of the code of an item, the item."""
    item: str | None
    """The id of the item that a code of an item stands for."""
    items: int
    """Postings."""
    users: int
    """Users that have the code."""
    traffic: float
    """Σ of users' boosts on the code / Σ of all users' boosts."""
    top_items: tuple[TopItem, ...]
    """At most `TOP_ITEMS`, best first."""
    neighbours: tuple[Neighbour, ...]
    """Codes with similar posting rows, the most similar first."""
    scores: dict[str, float] | None
    """Quantiles of the scores, each a stored one: min, p10, p50, p90, max; None without postings."""
    fingerprint: str
    """16 hexadecimal digits that differ when a posting of the code does."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON; what is None is left out."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> CodeProfile:
        """The inverse of `as_dict`. What else a code's document holds, its place on a map, is passed over."""
        known = {each.name for each in fields(cls)}
        values = {"item": None, "scores": None, **{key: value for key, value in content.items() if key in known}}
        values["top_items"] = tuple(
            TopItem(each["item"], each.get("title"), each["score"]) for each in values["top_items"]
        )
        values["neighbours"] = tuple(Neighbour(**each) for each in values["neighbours"])
        return cls(**values)


class Profiler:
    """Makes the profiles of an artifact's codes. What is costly is computed when it is first asked for."""

    def __init__(self, artifact: Artifact) -> None:
        self.artifact = artifact

    @functools.cached_property
    def survey(self) -> Survey:
        """One pass over all postings."""
        return survey(self.artifact)

    @functools.cached_property
    def catalogue(self) -> Catalogue:
        """One pass over all items' documents."""
        return Catalogue(self.artifact)

    @functools.cached_property
    def users(self) -> np.ndarray:
        """Users that have each code, int64 [C]."""
        return np.bincount(self.artifact.user_codes, minlength=self.artifact.num_codes)

    @functools.cached_property
    def traffic(self) -> np.ndarray:
        """Each code's share of all boosts, float64 [C]."""
        sums = np.bincount(self.artifact.user_codes, self.artifact.user_boosts, self.artifact.num_codes)
        return np.asarray(sums / max(sums.sum(), 1e-300))

    @functools.cached_property
    def _neighbours(self) -> Neighbours:
        return Neighbours(self.artifact, self.survey)

    def profiles(self, rows: Sequence[int] | np.ndarray | None = None) -> Iterator[CodeProfile]:
        """The profiles of some codes, or of all, in order."""
        wanted = np.arange(self.artifact.num_codes) if rows is None else np.asarray(rows, dtype=np.int64)
        for start in range(0, len(wanted), BLOCK):
            block = wanted[start : start + BLOCK]
            for row, near in zip(block.tolist(), self._neighbours.of(block), strict=True):
                yield self._profile(row, tuple(Neighbour(self.artifact.term(code), cosine) for code, cosine in near))

    def name(self, row: int) -> str:
        """A code's readable name: never empty, and the same for the same artifact."""
        if self._is_item_code(row):
            item = int(self.artifact.codes[row, 1])
            named = short(self.catalogue.title(item) or "") or self.artifact.item_ids[item]
            return in_words(self.artifact.term(row), named)
        return self.catalogue.name(self._named_by(row)) or self.artifact.term(row)

    def _named_by(self, row: int) -> list[int]:
        """A code's best items. Without the pass over all postings, where nothing else has asked for it."""
        if "survey" not in self.__dict__:
            return best_items(self.artifact, row, NAMED_BY)
        items: list[int] = self.survey.top(row, NAMED_BY)[0].tolist()
        return items

    def busiest(self, count: int) -> list[int]:
        """The rows of the codes with most traffic, at most `count`; equal ones by users, then by term."""
        traffic, users = self.traffic.tolist(), self.users.tolist()
        rows = range(self.artifact.num_codes)
        return heapq.nsmallest(count, rows, key=lambda row: (-traffic[row], -users[row], self.artifact.term(row)))

    def _is_item_code(self, row: int) -> bool:
        return bool(of_items(self.artifact.codes[row : row + 1])[0])

    def _profile(self, row: int, neighbours: tuple[Neighbour, ...]) -> CodeProfile:
        artifact, is_item = self.artifact, self._is_item_code(row)
        scores = None
        if self.survey.counts[row]:
            scores = dict(zip(QUANTILES, from_grid(self.survey.quantiles[row]).tolist(), strict=True))
        return CodeProfile(
            code=artifact.term(row),
            kind=ITEM if is_item else LEARNED,
            name=self.name(row),
            item=artifact.item_ids[int(artifact.codes[row, 1])] if is_item else None,
            items=int(self.survey.counts[row]),
            users=int(self.users[row]),
            traffic=float(self.traffic[row]),
            top_items=self._top(row),
            neighbours=neighbours,
            scores=scores,
            fingerprint=fingerprint(artifact, row),
        )

    def _top(self, row: int) -> tuple[TopItem, ...]:
        items, grid = self.survey.top(row, TOP_ITEMS)
        scores = from_grid(grid).tolist()
        return tuple(
            TopItem(self.artifact.item_ids[item], self.catalogue.title(item), score)
            for item, score in zip(items.tolist(), scores, strict=True)
        )


def fingerprint(artifact: Artifact, row: int) -> str:
    """16 hexadecimal digits of a code's postings: item numbers, which mean the same items within a model, and grid values."""
    items, grid = artifact.postings(row)
    digest = hashlib.blake2b(np.ascontiguousarray(items).tobytes(), digest_size=8)
    digest.update(np.ascontiguousarray(grid).tobytes())
    return digest.hexdigest()


def document_digest(title: str | None, attributes: Mapping[str, Any]) -> str:
    """16 hexadecimal digits of what is shown of an item."""
    text = json.dumps([title, attributes], sort_keys=True, ensure_ascii=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
