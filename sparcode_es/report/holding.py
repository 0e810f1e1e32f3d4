"""What a report asks of a place that holds postings, and the answers of an artifact. Those of an index: see `indexed`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from sparcode_es import __version__
from sparcode_es.codes import of_items
from sparcode_es.config import to_mapping
from sparcode_es.engines.embedded import EmbeddedEngine
from sparcode_es.engines.embedded_inspector import EmbeddedInspector
from sparcode_es.engines.inspector import Inspector
from sparcode_es.postings.artifact import Artifact
from sparcode_es.postings.grid import from_grid
from sparcode_es.postings.places import posting_rows
from sparcode_es.postings.principal import Rows
from sparcode_es.postings.profile import ITEM, LEARNED
from sparcode_es.report.facts import Place
from sparcode_es.serving.recommender import Recommender

TOP = 3
"""Best items that a code is shown with on the map."""
READ = 1 << 24
"""Scores counted at a time."""
FARTHEST = 10_000
"""How far into the users' ids an example is looked for: as far as Elasticsearch pages."""


@dataclass(frozen=True)
class Tallies:
    """Counts of C codes of one kind."""

    codes: tuple[str, ...]
    """Terms, [C]."""
    items: np.ndarray
    """int64 [C], postings."""
    users: np.ndarray
    """int64 [C]"""
    traffic: np.ndarray
    """float64 [C], the share of all users' boosts."""


@dataclass(frozen=True)
class ScoreCounts:
    """How many postings have which score: values float64 [V] ascending, counts float64 [V]."""

    values: np.ndarray
    counts: np.ndarray


@dataclass(frozen=True)
class Label:
    """A code as a person knows it."""

    name: str
    top: tuple[str, ...]
    """Titles, or ids, of its best `TOP` items."""


class Holding(Protocol):
    """A place that holds postings."""

    exact: bool
    """Whether `scores` and `rows` are whole."""

    @property
    def inspector(self) -> Inspector:
        """Answers what is asked of single codes, items and users."""
        ...

    def recommender(self) -> Recommender:
        """Recommends from it; raises instead of falling back to popular items."""
        ...

    def software(self) -> str:
        """What answers, with its version."""
        ...

    def place(self) -> Place:
        """What holds them."""
        ...

    def tallies(self) -> dict[str, Tallies]:
        """Kind → its codes, counted."""
        ...

    def labels(self, terms: Sequence[str]) -> dict[str, Label]:
        """What learned codes are called, by term."""
        ...

    def scores(self) -> dict[str, ScoreCounts]:
        """Kind → its scores."""
        ...

    def documents(self) -> dict[int, int]:
        """Postings → how many items have as many."""
        ...

    def rows(self, terms: Sequence[str]) -> tuple[Rows, str]:
        """The posting rows of some codes, and in words what of them."""
        ...

    def users(self, places: Sequence[int]) -> list[str]:
        """The users at some places in byte order of the ids."""
        ...


class ArtifactHolding:
    """See `Holding`."""

    exact = True

    def __init__(self, artifact: Artifact) -> None:
        self._artifact = artifact
        self._engine = EmbeddedEngine(artifact)
        self.inspector = EmbeddedInspector(self._engine)
        is_item = of_items(artifact.codes)
        kinds = ((LEARNED, np.flatnonzero(~is_item)), (ITEM, np.flatnonzero(is_item)))
        self._kinds = {kind: rows for kind, rows in kinds if len(rows)}

    def recommender(self) -> Recommender:
        """See `Holding.recommender`."""
        return Recommender.for_engine(self._engine, fallback=False)

    def software(self) -> str:
        """See `Holding.software`."""
        return f"sparcode-es {__version__}"

    def place(self) -> Place:
        """See `Holding.place`."""
        artifact, manifest = self._artifact, self._artifact.manifest
        return Place(
            engine="embedded",
            where=str(artifact.path),
            generation=artifact.generation_hash,
            model_hash=artifact.model_hash,
            codebook_hash=artifact.codebook_hash,
            counts=to_mapping(manifest.counts),
            bias=manifest.bias,
            sparsity=manifest.sparsity,
            bytes=sum(file.bytes for file in manifest.files.values()),
            created_at=manifest.created_at,
            updates=len(manifest.updates),
        )

    def tallies(self) -> dict[str, Tallies]:
        """See `Holding.tallies`."""
        profiler, items = self.inspector.profiler, np.diff(self._artifact.code_offsets.astype(np.int64))
        return {
            kind: Tallies(
                tuple(self._artifact.term(row) for row in rows.tolist()),
                items[rows],
                profiler.users[rows],
                profiler.traffic[rows],
            )
            for kind, rows in self._kinds.items()
        }

    def labels(self, terms: Sequence[str]) -> dict[str, Label]:
        """See `Holding.labels`."""
        profiler, found = self.inspector.profiler, {}
        for term in terms:
            row = self._artifact.code_row(term)
            if row is not None:
                best = profiler.survey.top(row, TOP)[0].tolist()
                titles = (profiler.catalogue.title(item) or self._artifact.item_ids[item] for item in best)
                found[term] = Label(profiler.name(row), tuple(titles))
        return found

    def scores(self) -> dict[str, ScoreCounts]:
        """See `Holding.scores`. One pass over all postings."""
        artifact, found = self._artifact, {}
        for kind, rows in self._kinds.items():
            counts = np.zeros(1 << 16)
            # The rows of a kind lie together: codes are in lexicographic order, and those of items come last.
            start, stop = int(artifact.code_offsets[rows[0]]), int(artifact.code_offsets[rows[-1] + 1])
            for first in range(start, stop, READ):
                counts += np.bincount(artifact.scores[first : min(first + READ, stop)], minlength=1 << 16)
            kept = np.flatnonzero(counts)
            found[kind] = ScoreCounts(from_grid(kept.astype(np.uint16)).astype(np.float64), counts[kept])
        return found

    def documents(self) -> dict[int, int]:
        """See `Holding.documents`."""
        postings, items = np.unique(self._artifact.postings_by_item, return_counts=True)
        return dict(zip(postings.tolist(), items.tolist(), strict=True))

    def rows(self, terms: Sequence[str]) -> tuple[Rows, str]:
        """See `Holding.rows`."""
        numbers = [number for term in terms if (number := self._artifact.code_row(term)) is not None]
        return posting_rows(self._artifact, numbers), "their posting rows"

    def users(self, places: Sequence[int]) -> list[str]:
        """See `Holding.users`."""
        order = self._artifact.user_ids.order()
        return [self._artifact.user_ids[int(order[place])] for place in places]
