"""Dropout: what is kept, how much, and that nothing happens outside training."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparcode_es.models.dropout import Dropout, dropout


@given(st.lists(st.integers(0, 5), min_size=1, max_size=3), st.floats(0, 0.99), st.integers(0, 9))
def test_kept_elements_are_scaled_by_one_factor(shape: list[int], share: float, seed: int) -> None:
    torch.manual_seed(seed)
    x = torch.rand(shape) + 1
    kept = dropout(x, share)
    assert kept.shape == x.shape
    factors = kept / x
    expected = 256 / (256 - round(share * 256))
    assert bool(((factors == 0) | torch.isclose(factors, torch.tensor(expected))).all())


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_the_share_and_the_mean(share: float) -> None:
    torch.manual_seed(0)
    x = torch.ones(1_000_003, requires_grad=True)
    kept = dropout(x, share)
    assert float((kept == 0).float().mean()) == pytest.approx(share, abs=0.005)
    assert float(kept.detach().mean()) == pytest.approx(1, abs=0.02)
    kept.sum().backward()
    assert torch.equal(x.grad, kept.detach()), "the gradient passes where the element was kept"


def test_the_seed_fixes_the_mask() -> None:
    x = torch.ones(10_000)
    first, second = (dropout(x, 0.5) for _ in range(2) if torch.manual_seed(3))
    assert torch.equal(first, second)
    assert not torch.equal(first, dropout(x, 0.5))


def test_neighbours_are_independent() -> None:
    torch.manual_seed(0)
    kept = (dropout(torch.ones(800_000), 0.5) > 0).view(-1, 8).float()
    correlations = torch.corrcoef(kept.T) - torch.eye(8)
    assert float(correlations.abs().max()) < 0.02


def test_evaluation_changes_nothing() -> None:
    layer = Dropout(0.5).eval()
    x = torch.randn(100)
    assert layer(x) is x
    assert Dropout(0.0)(x) is x
