"""The sampled softmax, against the cross-entropy that it should be."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from sparcode_es.models.losses import Candidates, sampled_softmax

EVERYTHING = torch.arange(3)


def test_an_item_that_is_drawn_often_is_corrected_downwards() -> None:
    """logQ (Yi et al. 2019): the logits are scores - log q."""
    torch.manual_seed(0)
    log_q, scores, target = torch.tensor([0.9, 0.5, 0.1]).log(), torch.randn(2, 3), torch.tensor([2, 0])
    found = sampled_softmax(scores, Candidates(EVERYTHING, log_q, torch.ones(3, dtype=torch.bool), target))
    assert found.item() == pytest.approx(F.cross_entropy(scores - log_q, target).item())


def test_another_positions_target_that_was_not_drawn_is_no_negative() -> None:
    torch.manual_seed(0)
    scores, target, drawn = torch.randn(2, 3), torch.tensor([1, 2]), torch.tensor([True, False, False])
    found = sampled_softmax(scores, Candidates(EVERYTHING, torch.zeros(3), drawn, target))
    pairs = torch.stack([scores[0, [1, 0]], scores[1, [2, 0]]])
    assert found.item() == pytest.approx(F.cross_entropy(pairs, torch.zeros(2, dtype=torch.int64)).item())
