"""Scores of users' codes for all items, as an artifact stores them and as the model gives them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sparcode_es.engines.base import Clause
from sparcode_es.postings.artifact import Artifact
from sparcode_es.postings.cuts import Cuts
from sparcode_es.postings.grid import from_grid, to_grid
from sparcode_es.postings.score import CodeScorer, sparse_scores

MOST_CODES = 4096
NOTHING = 1e-4
"""A score so small beside |b̃| and its code's largest may be made positive on one device and not on another."""


class ScoreTable:
    """An artifact beside its model."""

    def __init__(self, artifact: Artifact, scorer: CodeScorer) -> None:
        self.artifact, self.scorer = artifact, scorer
        self.cuts = Cuts(artifact)
        self._bias = artifact.manifest.bias
        self._known: dict[int, np.ndarray] = {}
        self._missing: dict[int, int] = {}

    @property
    def missing(self) -> int:
        """Pairs of the codes asked for so far with a positive score, which no cut can have taken, but without a posting."""
        return sum(self._missing.values())

    def scores(self, clauses: Sequence[Clause]) -> tuple[np.ndarray, np.ndarray]:
        """Eq. 11, rounded and unrounded, float64 [I] each. Pairs that a cut can have taken are left out of both."""
        rounded = np.zeros(self.artifact.num_items)
        exact = np.zeros(self.artifact.num_items)
        known = [(row, clause) for clause in clauses if (row := self.artifact.code_row(clause.term)) is not None]
        self._learn([row for row, _ in known])
        for row, clause in known:
            items, grid = self.artifact.postings(row)
            rounded[items] += clause.boost * from_grid(grid).astype(np.float64)
            exact += clause.boost * self._known[row].astype(np.float64)
        return rounded, exact

    def _learn(self, rows: Sequence[int]) -> None:
        """The model's scores of codes not asked for before (Eq. 15). At most `MOST_CODES` are remembered."""
        new = [row for row in rows if row not in self._known]
        if len(self._known) + len(new) > MOST_CODES:
            self._known.clear()
            new = list(rows)
        if new:
            scores = sparse_scores(self.scorer, np.asarray(self.artifact.codes)[new], self._bias)
            self._known.update((row, self._expected(row, own)) for row, own in zip(new, scores, strict=True))

    def _expected(self, row: int, own: np.ndarray) -> np.ndarray:
        """ReLU(S + b̃) of one code, float32 [I], 0 where there is no posting and need not be one; counts what is missing."""
        stored = np.zeros(len(own), dtype=bool)
        stored[self.artifact.postings(row)[0]] = True
        grid = to_grid(own)
        missing = ~stored & (grid > 0) & (own > NOTHING * (abs(self._bias) + own.max(initial=0)))
        missing &= ~self.cuts.can_have_taken(row, grid)
        self._missing[row] = int(missing.sum())
        return np.where(stored | missing, own, np.float32(0))
