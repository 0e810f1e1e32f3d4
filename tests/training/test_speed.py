"""Settings of the process while a training runs, and the learning rate."""

from __future__ import annotations

import pytest
import torch

from sparcode_es.config import StageConfig
from sparcode_es.training.speed import fast_matmul, keep_freed_memory
from sparcode_es.training.stage import learning_rate

matmul = getattr(torch.backends.mkldnn, "matmul", None)


@pytest.mark.skipif(matmul is None, reason="this torch cannot be told how to multiply on the CPU")
def test_fast_matmul_ends_with_the_training() -> None:
    before = matmul.fp32_precision
    with pytest.raises(RuntimeError, match="diverged"), fast_matmul(True):
        assert matmul.fp32_precision == "bf16"
        raise RuntimeError("diverged")
    assert matmul.fp32_precision == before
    with fast_matmul(False):
        assert matmul.fp32_precision == before


def test_products_stay_near() -> None:
    torch.manual_seed(0)
    a, b = torch.randn(300, 200), torch.randn(200, 400)
    exact = a @ b
    with fast_matmul(True):
        assert float((a @ b - exact).abs().max()) < 0.05 * float(exact.abs().max())
    assert torch.equal(a @ b, exact)


def test_kept_memory_changes_no_result() -> None:
    before = torch.arange(1e6).sum()
    keep_freed_memory()
    assert torch.equal(torch.arange(1e6).sum(), before)


@pytest.mark.parametrize(
    ("decay_from", "rates"),
    [(0.0, [1.0, 0.75, 0.5, 0.25]), (0.5, [1.0, 1.0, 1.0, 0.5]), (1.0, [1.0, 1.0, 1.0, 1.0])],
)
def test_the_learning_rate_falls(decay_from: float, rates: list[float]) -> None:
    config = StageConfig(epochs=4, learning_rate=0.01, decay_from=decay_from)
    assert [learning_rate(config, epoch, 4) for epoch in (1, 2, 3, 4)] == pytest.approx([0.01 * rate for rate in rates])
