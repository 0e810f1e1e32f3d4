"""The FeatureField grid: properties, and the edges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparcode_es.errors import ArtifactError
from sparcode_es.postings.grid import SMALLEST, from_grid, to_grid

LARGEST = float(from_grid(np.array([65279], dtype=np.uint16))[0])
normal = st.floats(min_value=2.0**-126, max_value=LARGEST, width=32, allow_nan=False)


def one(score: float) -> int:
    return int(to_grid(np.array([score], dtype=np.float32))[0])


@given(normal)
def test_relative_error_is_at_most_half_a_step(score: float) -> None:
    back = float(from_grid(np.array([one(score)], dtype=np.uint16))[0])
    assert abs(back / score - 1) <= 2**-9


@given(normal, normal)
def test_monotone(a: float, b: float) -> None:
    low, high = sorted([a, b])
    assert one(low) <= one(high)


@given(st.integers(SMALLEST, 65279))
def test_grid_values_come_back_and_java_truncates_them_to_themselves(grid: int) -> None:
    score = from_grid(np.array([grid], dtype=np.uint16))
    assert to_grid(score)[0] == grid
    # Java: Float.floatToIntBits(score) >> 15
    assert int(score.view(np.int32)[0]) >> 15 == grid


@given(normal)
def test_nearest(score: float) -> None:
    grid = one(score)
    near = from_grid(np.array([grid - 1, grid, grid + 1], dtype=np.uint16)).astype(np.float64)
    distance = np.abs(near - score)
    assert distance[1] <= distance[[0, 2]].min()


@pytest.mark.parametrize("score", [0.0, -0.0, -1.0, -np.inf, 1e-40, 2.0**-127])
def test_what_is_not_positive_and_normal_is_no_posting(score: float) -> None:
    assert one(score) == 0


def test_rounding_carries_into_the_exponent() -> None:
    assert from_grid(to_grid(np.array([1.9999999], dtype=np.float32)))[0] == 2.0


@pytest.mark.parametrize("score", [np.nan, np.inf, 3.4028235e38])
def test_what_the_grid_cannot_hold_is_refused(score: float) -> None:
    with pytest.raises(ArtifactError):
        one(score)
