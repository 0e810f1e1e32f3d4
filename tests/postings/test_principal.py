"""Principal components of sparse rows beside numpy's of the laid-out matrix."""

from __future__ import annotations

import numpy as np
import pytest

from sparcode_es.postings.principal import Rows, principal


def rows_of(matrix: np.ndarray) -> Rows:
    def row(i: int) -> tuple[np.ndarray, np.ndarray]:
        columns = np.flatnonzero(matrix[i])
        return columns, matrix[i, columns].astype(np.float32)

    return Rows(matrix.shape[0], matrix.shape[1], row)


@pytest.mark.parametrize("shape", [(40, 300), (300, 40), (5, 3), (3, 900)])
def test_as_the_singular_values_say(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(3)
    # Three clear directions and a little of all others, a third of it missing.
    matrix = rng.normal(size=(shape[0], 3)) * [5, 3, 1] @ rng.normal(size=(3, shape[1])) + rng.normal(size=shape) * 0.1
    matrix[rng.random(shape) < 0.33] = 0
    unit = matrix / np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), 1e-300)
    left, sizes, _ = np.linalg.svd(unit - unit.mean(0), full_matrices=False)
    places, shares = principal(rows_of(matrix))
    assert shares == pytest.approx((sizes[:2] ** 2 / (sizes**2).sum()).tolist(), rel=1e-3)
    for axis in range(2):
        expected = left[:, axis] * sizes[axis]
        expected *= np.sign(expected @ places[:, axis])
        assert np.abs(places[:, axis] - expected).max() < 0.02 * np.abs(expected).max() + 1e-6
    again, _ = principal(rows_of(matrix))
    assert (again == places).all()
    assert (places[np.abs(places).argmax(0), [0, 1]] > 0).all()


def test_there_may_be_nothing_to_see() -> None:
    for matrix in (np.zeros((4, 9)), np.ones((6, 5)), np.ones((1, 5)), np.ones((4, 1)), np.zeros((0, 3))):
        places, shares = principal(rows_of(matrix))
        assert (places.shape, shares) == ((len(matrix), 2), (0.0, 0.0))
        assert not places.any()
