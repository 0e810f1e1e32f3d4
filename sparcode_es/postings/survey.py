"""One pass over an artifact's postings: what each code's row looks like, without keeping it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sparcode_es.postings.artifact import Artifact
from sparcode_es.postings.grid import from_grid

KEPT = 32
"""Best postings kept a code: its top items, and what similar codes are looked for by."""
QUANTILES = {"min": 0.0, "p10": 0.1, "p50": 0.5, "p90": 0.9, "max": 1.0}


@dataclass(frozen=True)
class Survey:
    """What one pass finds out about C codes."""

    counts: np.ndarray
    """int64 [C], postings a code"""
    items: np.ndarray
    """uint32 [C, KEPT], item numbers of the best postings, best first, ties by item id; 0 beyond a short row's end"""
    grid: np.ndarray
    """uint16 [C, KEPT], their grid values; 0 beyond a short row's end"""
    norms: np.ndarray
    """float64 [C], √Σ score²"""
    quantiles: np.ndarray
    """uint16 [C, 5], the grid values at `QUANTILES`, each one a stored score; 0 for a code without postings"""

    def top(self, code_row: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """At most `count` best items of a code and their grid values, best first."""
        stop = min(count, int(self.counts[code_row]))
        return self.items[code_row, :stop], self.grid[code_row, :stop]


def survey(artifact: Artifact) -> Survey:
    """Read every posting once. O(P log), C × KEPT numbers are held."""
    codes = artifact.num_codes
    found = Survey(
        counts=np.diff(artifact.code_offsets.astype(np.int64)),
        items=np.zeros((codes, KEPT), dtype=np.uint32),
        grid=np.zeros((codes, KEPT), dtype=np.uint16),
        norms=np.zeros(codes),
        quantiles=np.zeros((codes, len(QUANTILES)), dtype=np.uint16),
    )
    rank = artifact.item_ranks
    for row in np.flatnonzero(found.counts).tolist():
        items, grid = (np.asarray(part) for part in artifact.postings(row))
        ordered = np.sort(grid)
        places = [int(share * (len(ordered) - 1)) for share in QUANTILES.values()]
        found.quantiles[row] = ordered[places]
        scores = from_grid(grid).astype(np.float64)
        found.norms[row] = np.sqrt(scores @ scores)
        best = _best(items, grid, ordered, rank)
        found.items[row, : len(best)], found.grid[row, : len(best)] = items[best], grid[best]
    return found


def best_items(artifact: Artifact, row: int, count: int) -> list[int]:
    """The item numbers of at most `count` (≤ `KEPT`) best postings of one code, as `Survey.top` has them."""
    items, grid = (np.asarray(part) for part in artifact.postings(row))
    found: list[int] = items[_best(items, grid, np.sort(grid), artifact.item_ranks)][:count].tolist()
    return found


def _best(items: np.ndarray, grid: np.ndarray, ordered: np.ndarray, rank: np.ndarray) -> np.ndarray:
    """The places of the `KEPT` best postings of a row, best first, ties by item id. ordered: the sorted grid values."""
    found = np.flatnonzero(grid >= ordered[-KEPT]) if len(grid) > KEPT else np.arange(len(grid))
    best: np.ndarray = found[np.lexsort((rank[items[found]], -grid[found].astype(np.int32)))][:KEPT]
    return best
