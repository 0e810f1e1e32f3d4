"""Where codes lie on a map: the busiest of an artifact, in the plane of their posting rows' principal components."""

from __future__ import annotations

import numpy as np

from sparcode_es.postings.grid import from_grid
from sparcode_es.postings.principal import Rows, principal
from sparcode_es.postings.profile import Profiler

MOST = 1_500
"""Codes on the map: each is read some fourteen times."""


def places(profiler: Profiler, most: int = MOST) -> dict[int, tuple[float, float]]:
    """Code row → (x, y), of the `most` busiest codes that have postings, learned ones and item codes; four decimal places.

    {} for fewer than three codes, which are no map.
    """
    artifact = profiler.artifact
    numbers = [row for row in profiler.busiest(most) if profiler.survey.counts[row]]
    if len(numbers) < 3:
        return {}

    def row(i: int) -> tuple[np.ndarray, np.ndarray]:
        items, grid = artifact.postings(numbers[i])
        return items, from_grid(grid)

    found, _ = principal(Rows(len(numbers), artifact.num_items, row))
    return {number: (x, y) for number, (x, y) in zip(numbers, found.round(4).tolist(), strict=True)}
