"""The tiled layer over pairs: the same numbers and gradients as autograd's, whatever the tiles."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

import sparcode_es.models.pair_layer as pair_layer
from sparcode_es.models.pair_layer import PairLayer
from sparcode_es.models.scorers import InnerPDNN


def plain(codes: Tensor, gates: Tensor, bias: Tensor, weight: Tensor) -> Tensor:
    return F.relu(torch.einsum("qd,nhd->qnh", codes, gates) + bias) @ weight


def arguments(Q: int, n: int, h: int, D: int, seed: int) -> list[Tensor]:
    torch.manual_seed(seed)
    shapes = [(Q, D), (n, h, D), (h,), (h,)]
    return [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]


@given(
    st.integers(1, 9), st.integers(1, 9), st.integers(1, 5), st.integers(1, 6), st.integers(1, 60), st.integers(0, 99)
)
def test_as_autograd_does(Q: int, n: int, h: int, D: int, tile: int, seed: int) -> None:
    given_, copies = arguments(Q, n, h, D, seed), arguments(Q, n, h, D, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(pair_layer.TILE_NUMBERS, "cpu", tile)
        found = PairLayer.apply(*given_)
        expected = plain(*copies)
        assert torch.allclose(found, expected)
        upstream = torch.randn_like(expected)
        found.backward(upstream)
        expected.backward(upstream)
    for ours, theirs in zip(given_, copies, strict=True):
        assert torch.allclose(ours.grad, theirs.grad)


def test_no_gradient_is_asked_for() -> None:
    with torch.inference_mode():
        assert PairLayer.apply(*arguments(3, 4, 2, 5, 0)).shape == (3, 4)


def test_autocast_changes_little_and_breaks_nothing() -> None:
    """As with training.amp: forward under autocast, backward outside of it."""
    torch.manual_seed(0)
    scorer, codes, items = InnerPDNN(8, 2, (4,)), torch.randn(5, 8, requires_grad=True), torch.randn(6, 2, 8)
    torch.nn.init.normal_(scorer.head.output.weight)
    learned = (codes, scorer.weight)
    expected = scorer(codes, items)
    gradients = torch.autograd.grad(expected.square().sum(), learned)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = scorer(codes, items)
    assert torch.allclose(found, expected, atol=0.05 * float(expected.detach().abs().max()))
    for ours, exact in zip(torch.autograd.grad(found.float().square().sum(), learned), gradients, strict=True):
        assert torch.allclose(ours, exact, atol=0.1 * float(exact.abs().max()))
