"""The grid of scores that Lucene's FeatureField can hold: positive normal floats with 9 significant bits.

A grid value is the float32's bits shifted right by 15: 8 bits of exponent and 8 of mantissa, a uint16. 0 stands for "no
posting". Lucene truncates; scores that already lie on the grid come back unchanged, so every engine has the same ones.
"""

from __future__ import annotations

import numpy as np

from sparcode_es.errors import ArtifactError

SHIFT = 15
SMALLEST = 1 << (23 - SHIFT)
"""The grid value of the smallest normal float32, 2^-126."""
INFINITY = 0x7F80_0000 >> SHIFT
"""The first grid value that is not a finite number."""


def to_grid(scores: np.ndarray) -> np.ndarray:
    """Round scores to the nearest grid value: float32 [...] → uint16 [...].

    Scores that are not positive, or that round to less than the smallest normal float32, become 0. The relative error of
    the others is at most 2^-9. Raises `ArtifactError` for a score that is not a number or that the grid cannot hold.
    """
    scores = np.ascontiguousarray(scores, dtype=np.float32)
    if np.isnan(scores).any():
        raise ArtifactError("a score is not a number (NaN); the model is damaged, train it again")
    bits = np.where(scores > 0, scores, np.float32(0)).view(np.uint32)
    # Half a step is added before the cut; a carry moves into the exponent, which is the next grid value.
    grid = (bits + np.uint32(1 << (SHIFT - 1))) >> SHIFT
    if (grid >= INFINITY).any():
        raise ArtifactError(f"the score {scores.max()} is too large for the index; the largest is about 3.4e38")
    grid[grid < SMALLEST] = 0
    return grid.astype(np.uint16)


def from_grid(grid: np.ndarray) -> np.ndarray:
    """The scores of grid values: uint16 [...] → float32 [...]. Exact."""
    scores: np.ndarray = np.left_shift(grid, SHIFT, dtype=np.uint32).view(np.float32)
    return scores
