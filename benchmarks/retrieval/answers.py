"""How good answers are: the share of the exact answer's items that they have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from retrieval.recipe import LATEST, World
from retrieval.systems import Ask, Queries, System
from sparcode_es.postings.artifact import Artifact
from sparcode_es.postings.grid import from_grid

Scores = Callable[[int], np.ndarray]


class Exact:
    """Scores of all items for a user, the plain way.

    `dense`: inner products. `sparse`: Eq. 11 over the postings. `uncut`: Eq. 11 over all positive scores of the user's codes,
    as if every posting were kept; for dense systems, `dense`.
    """

    def __init__(self, world: World, artifact: Artifact, queries: Queries) -> None:
        self.world, self.artifact, self.queries = world, artifact, queries

    def dense(self, user: int) -> np.ndarray:
        """float32 [I]"""
        scores: np.ndarray = self.world.vectors @ self.queries.vectors[user]
        return scores

    def sparse(self, user: int) -> np.ndarray:
        """float64 [I]"""
        return self._sum(self.queries.clauses[user])

    def uncut(self, user: int) -> np.ndarray:
        """float64 [I]"""
        centroids = self.world.centroids[self.world.user_codes[user]]
        whole: np.ndarray = np.maximum(self.world.vectors @ centroids.T, 0) @ self.world.user_weights[user]
        return whole + self._sum(self.queries.clauses[user][-LATEST:])

    def _sum(self, clauses: Any) -> np.ndarray:
        total = np.zeros(self.artifact.num_items)
        for clause in clauses:
            row = self.artifact.code_row(clause.term)
            if row is not None:
                items, grid = self.artifact.postings(row)
                total[items] += clause.boost * from_grid(grid).astype(np.float64)
        return total

    def best(self, scores: np.ndarray, ask: Ask, user: int, allowed: np.ndarray) -> set[int]:
        """The best items that the ask allows."""
        scores = np.where(allowed, scores, -np.inf)
        if ask.exclude:
            scores[self.world.user_seen[user]] = -np.inf
        place = np.argpartition(-scores, ask.k)[: ask.k]
        return set(place[scores[place] > 0].tolist())

    def allowed(self, ask: Ask) -> np.ndarray:
        """Which items fit the ask's filter, bool [I]."""
        if not ask.filter:
            return np.ones(self.artifact.num_items, dtype=bool)
        (name, value) = ask.filter[0]
        docs = (self.artifact.item_doc(item)["attributes"][name] == value for item in range(self.artifact.num_items))
        return np.fromiter(docs, dtype=bool, count=self.artifact.num_items)


def quality(exact: Exact, systems: list[System], ask: Ask, users: int, scores: Scores | None = None) -> dict[str, Any]:
    """Label → `recall`, the mean share of the exact answer of the same scores, and `uncut`, that of the uncut scores.

    scores: the exact scores for systems that rank by other ones than the artifact's.
    """
    allowed, found = exact.allowed(ask), {system.label: ([], []) for system in systems}
    for user in range(users):
        kinds = {system.kind for system in systems}
        same = {kind: exact.best((scores or getattr(exact, kind))(user), ask, user, allowed) for kind in kinds}
        whole = {
            kind: same["dense"] if kind == "dense" else exact.best(exact.uncut(user), ask, user, allowed)
            for kind in kinds
        }
        for system in systems:
            answer = set(system.numbers(system.answer(ask, user)[0]))
            for place, truth in enumerate((same[system.kind], whole[system.kind])):
                if truth:
                    found[system.label][place].append(len(answer & truth) / len(truth))
    return {
        label: {"recall": round(float(np.mean(same)), 4), "uncut": round(float(np.mean(whole)), 4)}
        for label, (same, whole) in found.items()
    }
