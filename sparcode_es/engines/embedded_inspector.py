"""Looking into a postings artifact: `Inspector` and `Contents`."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from sparcode_es.codes import item_term, of_items
from sparcode_es.engines.base import Contribution, Query
from sparcode_es.engines.embedded import EmbeddedEngine
from sparcode_es.engines.inspector import FLOAT64, Dead, Group, Part, Reasons, group
from sparcode_es.errors import NotFoundError
from sparcode_es.postings.artifact import Artifact
from sparcode_es.postings.grid import from_grid
from sparcode_es.postings.profile import ITEM, LEARNED, CodeProfile, Profiler, document_digest, fingerprint
from sparcode_es.postings.transpose import BLOCK_POSTINGS


class EmbeddedInspector:
    """See `sparcode_es.engines.inspector.Inspector`."""

    arithmetic = FLOAT64

    def __init__(self, engine: EmbeddedEngine) -> None:
        self.engine = engine
        self._artifact = engine.artifact

    @functools.cached_property
    def profiler(self) -> Profiler:
        """What is computed of the codes, once for all questions."""
        return Profiler(self._artifact)

    def codes(self, terms: Sequence[str]) -> dict[str, CodeProfile]:
        """See `Inspector.codes`."""
        return {profile.code: profile for profile in self.profiler.profiles([*self._rows(terms).values()])}

    def names(self, terms: Sequence[str]) -> dict[str, str]:
        """See `Inspector.names`."""
        return {term: self.profiler.name(row) for term, row in self._rows(terms).items()}

    def _rows(self, terms: Sequence[str]) -> dict[str, int]:
        return {term: row for term in terms if (row := self._artifact.code_row(term)) is not None}

    def busiest(self, count: int) -> list[CodeProfile]:
        """See `Inspector.busiest`."""
        return list(self.profiler.profiles(self.profiler.busiest(count)))

    def item_postings(self, item: str) -> dict[str, float]:
        """See `Inspector.item_postings`."""
        number = self._number(item)
        numbers, blocks = self._artifact.item_numbers, range(0, self._artifact.num_postings, BLOCK_POSTINGS)
        places = [start + np.flatnonzero(numbers[start : start + BLOCK_POSTINGS] == number) for start in blocks]
        found = np.concatenate([*places, np.zeros(0, dtype=np.int64)]).astype(np.int64)
        rows = np.searchsorted(self._artifact.code_offsets, found.astype(np.uint64), side="right") - 1
        scores = from_grid(self._artifact.scores[found]).tolist()
        pairs = [(self._artifact.term(row), score) for row, score in zip(rows.tolist(), scores, strict=True)]
        return dict(sorted(pairs, key=lambda pair: (-pair[1], pair[0])))

    def _number(self, item: str) -> int:
        number = self._artifact.item_ids.find(item)
        if number is None:
            raise NotFoundError(f"there is no item {item!r} in {self._artifact.path}")
        return number

    def own_code(self, item: str) -> CodeProfile | None:
        """See `Inspector.own_code`."""
        term = item_term(self._number(item))
        return self.codes([term]).get(term)

    def reasons(self, query: Query, item: str) -> Reasons:
        """See `Inspector.reasons`. The score is the search's."""
        plain = replace(query, exclude=frozenset(), filter=())
        found = self.engine.explain(plain, item)
        parts, total = self.added(found)
        items, scores = self.engine.scored(plain)
        score = scores[items == self._number(item)].sum()
        return Reasons(float(score), parts, total, self.arithmetic)

    def added(self, found: Sequence[Contribution]) -> tuple[tuple[Part, ...], float]:
        """See `Inspector.added`."""
        parts = tuple(Part(each, each.boost * each.score) for each in found)
        return parts, added_up(part.value for part in parts)

    def ahead(self, query: Query, item: str, score: float) -> int:
        """See `Inspector.ahead`."""
        items, scores = self.engine.scored(query)
        ranks = self._artifact.item_ranks
        tied = items[scores == score]
        return int(np.count_nonzero(scores > score) + np.count_nonzero(ranks[tied] < ranks[self._number(item)]))

    def passes(self, query: Query, item: str) -> bool:
        """See `Inspector.passes`."""
        number = self._artifact.item_ids.find(item)
        return number is not None and number in self.engine.scored(query)[0]

    def dead(self, examples: int) -> Dead:
        """See `Inspector.dead`."""
        artifact = self._artifact
        postings = np.diff(artifact.code_offsets.astype(np.int64))
        unheard = np.flatnonzero(artifact.postings_by_item == 0)
        return Dead(
            codes_without_users=self._by_kind(self.profiler.users == 0, examples),
            codes_without_items=self._by_kind(postings == 0, examples),
            items_without_postings=group((artifact.item_ids[item] for item in unheard.tolist()), examples),
        )

    def _by_kind(self, wanted: np.ndarray, examples: int) -> dict[str, Group]:
        is_item = of_items(self._artifact.codes)
        return {
            kind: group((self._artifact.term(row) for row in np.flatnonzero(wanted & rows).tolist()), examples)
            for kind, rows in ((LEARNED, ~is_item), (ITEM, is_item))
        }


class ArtifactContents:
    """See `sparcode_es.engines.inspector.Contents`."""

    def __init__(self, artifact: Artifact) -> None:
        self._artifact, self.label = artifact, str(artifact.path)
        self.model_hash, self.codebook_hash = artifact.model_hash, artifact.codebook_hash

    def items(self) -> dict[str, str]:
        """See `Contents.items`."""
        documents = (self._artifact.item_doc(item) for item in range(self._artifact.num_items))
        return {
            name: document_digest(document.get("title"), document.get("attributes") or {})
            for name, document in zip(self._artifact.item_ids, documents, strict=True)
        }

    def codes(self) -> dict[str, tuple[int, str]]:
        """See `Contents.codes`."""
        counts = np.diff(self._artifact.code_offsets.astype(np.int64)).tolist()
        return {self._artifact.term(row): (count, fingerprint(self._artifact, row)) for row, count in enumerate(counts)}

    def row(self, term: str) -> Iterator[tuple[str, float]]:
        """See `Contents.row`."""
        row = self._artifact.code_row(term)
        if row is not None:
            items, grid = self._artifact.postings(row)
            yield from zip((self._artifact.item_ids[i] for i in items.tolist()), from_grid(grid).tolist(), strict=True)


def added_up(values: Iterable[float]) -> float:
    """Float64 addition one after the other, from 0: `sum` of newer Pythons compensates its rounding, the engine does not."""
    total = 0.0
    for value in values:
        total += value
    return total
