"""Principal components of sparse rows, by a randomised subspace iteration: no row is laid out, nothing is larger than
codes × `PROBES` or items × `PROBES` numbers. (Halko, Martinsson, Tropp 2011, algorithm 4.4.)"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

PROBES = 12
"""Directions that are followed; two are wanted."""
ROUNDS = 6
"""Times that they are multiplied by AᵀA."""


@dataclass(frozen=True)
class Rows:
    """n sparse rows: row(i) gives its columns, distinct, int [p], and its values, float [p]."""

    count: int
    width: int
    """Columns that there are."""
    row: Callable[[int], tuple[np.ndarray, np.ndarray]]


class _Centred:
    """A - 1 μᵀ, where A [n, width] are rows of length 1, or 0 where a row is empty."""

    def __init__(self, rows: Rows) -> None:
        self._rows, self.mean, self.filled = rows, np.zeros(rows.width), 0
        for i in range(rows.count):
            columns, values = self._unit(i)
            self.mean[columns] += values
            self.filled += bool(len(columns))
        self.mean /= max(rows.count, 1)

    def _unit(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        columns, values = self._rows.row(i)
        values = values.astype(np.float64)
        return columns, values / max(float(np.sqrt(values @ values)), 1e-300)

    def times(self, vectors: np.ndarray) -> np.ndarray:
        """[width, r] → [n, r]"""
        found = np.zeros((self._rows.count, vectors.shape[1]))
        for i in range(self._rows.count):
            columns, values = self._unit(i)
            found[i] = values @ vectors[columns]
        return np.asarray(found - self.mean @ vectors)

    def transposed_times(self, vectors: np.ndarray) -> np.ndarray:
        """[n, r] → [width, r]"""
        found = np.zeros((self._rows.width, vectors.shape[1]))
        for i in range(self._rows.count):
            columns, values = self._unit(i)
            found[columns] += values[:, None] * vectors[i]
        return np.asarray(found - np.outer(self.mean, vectors.sum(0)))

    def variance(self) -> float:
        """Σ‖row‖², the sum of all squared singular values."""
        return self.filled - self._rows.count * float(self.mean @ self.mean)


def principal(rows: Rows) -> tuple[np.ndarray, tuple[float, float]]:
    """The first two principal components of rows scaled to length 1: places float64 [n, 2], and the share of the variance that
    each axis shows. The same rows give the same places."""
    nothing = np.zeros((rows.count, 2)), (0.0, 0.0)
    if rows.count < 2 or rows.width < 2:
        return nothing
    matrix = _Centred(rows)
    total = matrix.variance()
    if total < 1e-12:
        return nothing
    probes = min(PROBES, rows.count, rows.width)
    right = np.random.default_rng(0).normal(size=(rows.width, probes))
    for _ in range(ROUNDS):
        left = np.linalg.qr(matrix.times(right))[0]
        right = np.linalg.qr(matrix.transposed_times(left))[0]
    left, sizes, _ = np.linalg.svd(matrix.times(right), full_matrices=False)
    places = (left * sizes)[:, :2]
    places = places * np.where(places[np.abs(places).argmax(0), [0, 1]] < 0, -1.0, 1.0)
    shares = (sizes[:2] ** 2 / total).tolist()
    return places, (shares[0], shares[1])
