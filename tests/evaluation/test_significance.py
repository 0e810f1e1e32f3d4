"""The paired test over users, against the t-statistic written out and on cases whose answer is plain."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from sparcode_es.evaluation.significance import paired_test


@given(st.integers(0, 10_000), st.integers(3, 200), st.integers(1, 4))
def test_it_is_the_t_test_on_means_over_seeds(seed: int, users: int, seeds: int) -> None:
    a, b = np.random.default_rng(seed).random((2, seeds, users))
    found = paired_test(a, b)
    d = a.mean(0) - b.mean(0)
    t = d.mean() / (d.std(ddof=1) / np.sqrt(users))
    freedom = users - 1
    # The two tails of Student's distribution, as the incomplete beta function.
    expected = special.betainc(freedom / 2, 0.5, freedom / (freedom + t**2))
    assert found.difference == pytest.approx(d.mean())
    assert found.p == pytest.approx(expected, rel=1e-6)
    assert found.users == users
    assert paired_test(b, a).p == pytest.approx(found.p)


def test_more_seeds_of_the_same_users_are_no_more_evidence() -> None:
    a, b = np.random.default_rng(0).random((2, 1, 50))
    assert paired_test(np.repeat(a, 9, 0), np.repeat(b, 9, 0)).p == pytest.approx(paired_test(a, b).p)


def test_a_difference_without_variance() -> None:
    a = np.full((2, 8), 0.5)
    assert paired_test(a, a).p == 1.0
    assert paired_test(a + 0.25, a).p == 0.0


def test_one_user_is_no_sample() -> None:
    for better, worse in ((1.0, 0.0), (0.5, 0.5)):
        found = paired_test(np.full((3, 1), better), np.full((3, 1), worse))
        assert (found.difference, found.users) == (better - worse, 1)
        assert np.isnan(found.p)


def test_a_small_steady_difference_is_found_and_noise_is_not() -> None:
    rng = np.random.default_rng(1)
    base = rng.random((3, 4000))
    noise = rng.normal(0, 0.1, (3, 4000))
    assert paired_test(base + 0.02 + noise, base).p < 1e-6
    assert paired_test(base + noise, base).p > 0.01


def test_other_users_are_refused() -> None:
    with pytest.raises(ValueError, match="same users"):
        paired_test(np.zeros((1, 3)), np.zeros((1, 4)))
