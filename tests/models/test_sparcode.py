"""SparCode's loss, and where it begins."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sparcode_es.baselines.two_tower import TwoTower
from sparcode_es.config import load_config
from sparcode_es.models.losses import NegativeSampler, sampled_softmax
from sparcode_es.models.sparcode import SparCode

ITEMS = 30
SETTINGS = {"tokenizer.dim": 16, "quantizer.codes": 8, "quantizer.assignment": "nearest", "scorer.memory": False}


def made(**options: object) -> SparCode:
    torch.manual_seed(0)
    return SparCode(load_config(overrides=SETTINGS | options), ITEMS).eval()


def tokens_of(model: SparCode | TwoTower) -> torch.Tensor:
    histories = torch.from_numpy(np.random.default_rng(1).integers(0, ITEMS, (6, 5)))
    return model.tokens(histories, torch.arange(0, 30, 5), torch.zeros(6, dtype=torch.int64))


@pytest.mark.parametrize("weight", [0.25, 1.0])
def test_the_loss_is_equation_14(weight: float) -> None:
    model = made(**{"quantizer.commitment": weight, "training.freeze_tokenizer": False})
    tokens = tokens_of(model)
    sampler = NegativeSampler(model.config.loss, torch.ones(ITEMS))
    torch.manual_seed(2)
    candidates = sampler.draw(torch.arange(6))
    assignment = model.quantizer.assign(tokens)
    match = sampled_softmax(model.candidate_scores(tokens, assignment, candidates.items), candidates)
    commit = (tokens - model.quantizer.lookup(assignment.codes).sum(2)).square().sum((1, 2)).mean()
    assert float(commit.detach()) > 0.01
    assert torch.allclose(model.position_loss(tokens, assignment, candidates), match + weight * commit, rtol=1e-5)
    assert torch.allclose(model.position_loss(tokens.detach(), assignment, candidates), match, rtol=1e-5)


@pytest.mark.parametrize("kind", ["dot", "maxsim"])
@pytest.mark.parametrize("item_tokens", [1, 4])
def test_products_begin_at_the_towers_scores(kind: str, item_tokens: int) -> None:
    overrides = {"scorer.kind": kind, "tokenizer.item_tokens": item_tokens, "scorer.free_codes": False}
    model = made(**overrides)
    torch.manual_seed(3)
    tower = TwoTower(load_config(overrides=SETTINGS | {"model": "two_tower"}), ITEMS).eval()
    with torch.no_grad():
        model.begin_from(tower)
        tokens, items = tokens_of(model), torch.arange(ITEMS)
        towers = tower.candidate_scores(tokens, items)
        ours = model.pair_scores(tokens.squeeze(1), model.items(items))
        slope = (ours * towers).sum() / towers.square().sum()
    assert float(slope) == pytest.approx(1.0, abs=0.1)
