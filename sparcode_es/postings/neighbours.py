"""Which codes say the same of the items: the cosine of two posting rows, for pairs that share best items.

Only codes that have best items in common are compared, and an item names its strongest few codes only, so that the work grows
with the codes and not with their square; the cosines themselves are those of the whole rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sparcode_es import csr
from sparcode_es.codes import of_items
from sparcode_es.postings.artifact import Artifact
from sparcode_es.postings.grid import from_grid
from sparcode_es.postings.groups import rank_in_group
from sparcode_es.postings.survey import Survey

NEIGHBOURS = 8
ASKED = 16
"""Best items of a code that are asked which codes they name."""
PER_ITEM = 48
"""Codes of a kind that an item names."""
CANDIDATES = 24
"""Codes of its own kind that a code is compared with."""
STRANGERS = 8
"""Codes of the other kind that it is compared with."""
BLOCK = 256


@dataclass(frozen=True)
class _Named:
    """Item → the codes of one kind that have it among their best items, strongest first."""

    offsets: np.ndarray
    """int64 [I + 1]"""
    codes: np.ndarray
    """int64 [n], code rows"""
    weights: np.ndarray
    """float32 [n], score / norm"""


class Neighbours:
    """Finds the nearest codes of any code of an artifact."""

    def __init__(self, artifact: Artifact, survey: Survey) -> None:
        self._artifact, self._survey = artifact, survey
        shares = from_grid(survey.grid) / np.maximum(survey.norms, 1e-300)[:, None]
        self._weights = np.where(survey.grid > 0, shares, 0).astype(np.float32)
        self._is_item = of_items(artifact.codes)
        self._kinds = [self._named(np.flatnonzero(self._is_item == kind)) for kind in (False, True)]

    def _named(self, rows: np.ndarray) -> _Named:
        weights, items = self._weights[rows].ravel(), self._survey.items[rows].ravel()
        codes = np.repeat(rows, self._survey.items.shape[1])
        kept = np.flatnonzero(weights)
        kept = kept[np.lexsort((codes[kept], -weights[kept], items[kept]))]
        kept = kept[rank_in_group(items[kept]) < PER_ITEM]
        counts = np.bincount(items[kept], minlength=self._artifact.num_items)
        return _Named(csr.offsets_of(counts).astype(np.int64), codes[kept], weights[kept])

    def of(self, rows: np.ndarray) -> list[list[tuple[int, float]]]:
        """The nearest codes of each of some codes, nearest first: rows int64 [n] → lists of (code row, cosine)."""
        found: list[list[tuple[int, float]]] = []
        for start in range(0, len(rows), BLOCK):
            found += self._of_block(rows[start : start + BLOCK])
        return found

    def _of_block(self, rows: np.ndarray) -> list[list[tuple[int, float]]]:
        limits = [np.where(self._is_item[rows] == kind, CANDIDATES, STRANGERS) for kind in (False, True)]
        pairs = [self._candidates(rows, named, limit) for named, limit in zip(self._kinds, limits, strict=True)]
        places, others = (np.concatenate(part) for part in zip(*pairs, strict=True))
        cosines = self._cosines(rows[places], others)
        order = np.lexsort((others, -cosines, places))
        order = order[rank_in_group(places[order]) < NEIGHBOURS]
        nearest: list[list[tuple[int, float]]] = [[] for _ in rows]
        for pair in order.tolist():
            nearest[int(places[pair])].append((int(others[pair]), float(cosines[pair])))
        return nearest

    def _candidates(self, rows: np.ndarray, named: _Named, limit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pairs to compare: places in `rows` int64 [p], and code rows int64 [p], by the cosine of the best items alone.

        rows: int64 [n]. limit: how many codes each of them is compared with, int64 [n].
        """
        items, own = self._survey.items[rows, :ASKED].ravel().astype(np.int64), self._weights[rows, :ASKED].ravel()
        starts = named.offsets[items]
        lengths = np.where(own > 0, named.offsets[items + 1] - starts, 0)
        source, entries = np.repeat(np.arange(len(items)), lengths), csr.ranges(starts, lengths)
        places, others = source // ASKED, named.codes[entries]
        keys, inverse = np.unique(places * self._artifact.num_codes + others, return_inverse=True)
        sums = np.bincount(inverse.ravel(), weights=own[source] * named.weights[entries], minlength=len(keys))
        places, others = np.divmod(keys, self._artifact.num_codes)
        order = np.lexsort((others, -sums, places))
        order = order[others[order] != rows[places[order]]]
        order = order[rank_in_group(places[order]) < limit[places[order]]]
        return places[order], others[order]

    def _cosines(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Cosines of pairs of code rows, to 6 digits: int64 [p] twice → float64 [p]. Long rows are laid out."""
        counts, norms = self._survey.counts, self._survey.norms
        swap = counts[left] < counts[right]
        long, short = np.where(swap, right, left), np.where(swap, left, right)
        dots, laid_out = np.zeros(len(left)), np.zeros(self._artifact.num_items, dtype=np.float32)
        current, items = -1, np.zeros(0, dtype=np.uint32)
        for pair in np.lexsort((short, long)).tolist():
            if long[pair] != current:
                laid_out[items] = 0.0
                current = int(long[pair])
                items, grid = self._artifact.postings(current)
                laid_out[items] = from_grid(grid)
            others, grid = self._artifact.postings(int(short[pair]))
            dots[pair] = laid_out[others] @ from_grid(grid)
        return np.asarray(np.minimum(dots / (norms[left] * norms[right]), 1.0).round(6))
