"""Where codes lie on a map: the busiest of an artifact, in the plane of their posting rows' principal components."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sparcode_es.postings.artifact import Artifact
from sparcode_es.postings.grid import from_grid
from sparcode_es.postings.principal import Rows, principal
from sparcode_es.postings.profile import Profiler

MAPPED = 1_500
"""Codes on a map, at most: each is read some fourteen times."""


def places(profiler: Profiler, most: int = MAPPED) -> dict[int, tuple[float, float]]:
    """Code row → (x, y), of the `most` busiest codes that have postings, learned ones and item codes; four decimal places.

    {} for fewer than three codes, which are no map.
    """
    artifact = profiler.artifact
    numbers = [row for row in profiler.busiest(most) if profiler.survey.counts[row]]
    if len(numbers) < 3:
        return {}
    found, _ = principal(posting_rows(artifact, numbers))
    return {number: (x, y) for number, (x, y) in zip(numbers, found.round(4).tolist(), strict=True)}


def posting_rows(artifact: Artifact, codes: Sequence[int]) -> Rows:
    """The posting rows of some code rows: what `principal` is taken of."""

    def row(i: int) -> tuple[np.ndarray, np.ndarray]:
        items, grid = artifact.postings(codes[i])
        return items, from_grid(grid)

    return Rows(len(codes), artifact.num_items, row)
