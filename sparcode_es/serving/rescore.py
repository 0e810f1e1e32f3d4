"""Scores of a few items in float64 from the artifact: exact where an engine adds in float32."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sparcode_es.engines.base import Hit, Query
from sparcode_es.engines.conditions import weight_of
from sparcode_es.postings.artifact import Artifact
from sparcode_es.postings.grid import from_grid


def rescored(artifact: Artifact, query: Query, hits: Sequence[Hit]) -> list[Hit]:
    """The same items with Eq. 11 computed again, in the order of the new scores; an item that the artifact lacks is dropped.

    query: without a text, whose part of the score only the server knows.
    """
    numbers = {hit.item: number for hit in hits if (number := artifact.item_ids.find(hit.item)) is not None}
    items = np.array(list(numbers.values()), dtype=np.int64)
    scores = np.zeros(len(items))
    for clause in query.clauses:
        row = artifact.code_row(clause.term)
        if row is not None and clause.boost > 0:
            postings, grid = artifact.postings(row)
            places = np.minimum(np.searchsorted(postings, items), max(len(postings) - 1, 0))
            there = postings[places] == items if len(postings) else np.zeros(len(items), dtype=bool)
            scores[there] += from_grid(grid[places[there]]).astype(np.float64) * clause.boost  # Eq. 11
    if query.boosts:
        documents = [artifact.item_doc(int(item))["attributes"] for item in items]
        weights = [weight_of(query.boosts, name, document) for name, document in zip(numbers, documents, strict=True)]
        scores *= np.array(weights)
    found = [Hit(name, float(score)) for name, score in zip(numbers, scores, strict=True) if score > 0]
    return sorted(found, key=lambda hit: (-hit.score, hit.item.encode()))
