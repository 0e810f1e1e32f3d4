"""SparCode's loss, and where it begins."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import sparse

from sparcode_es.baselines.all_to_all import AllToAll
from sparcode_es.baselines.two_tower import TwoTower
from sparcode_es.config import load_config
from sparcode_es.data.dataset import Cases
from sparcode_es.evaluation.ranking import rank_metrics
from sparcode_es.models.encode import assign_codes, encode_tokens
from sparcode_es.models.losses import NegativeSampler, sampled_softmax
from sparcode_es.models.sparcode import SparCode

ITEMS = 30
SETTINGS = {"quantizer.codes": 8, "quantizer.assignment": "nearest", "scorer.memory": False}


def made(**options: object) -> SparCode:
    torch.manual_seed(0)
    return SparCode(load_config(overrides=SETTINGS | options), ITEMS).eval()


def reading() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Histories, positions and users."""
    histories = torch.from_numpy(np.random.default_rng(1).integers(0, ITEMS, (6, 5)))
    return histories, torch.arange(0, 30, 5), torch.zeros(6, dtype=torch.int64)


@pytest.mark.parametrize("weight", [0.25, 1.0])
def test_the_loss_is_equation_14(weight: float) -> None:
    model = made(**{"quantizer.commitment": weight, "training.freeze_tokenizer": False})
    tokens = model.tokens(*reading())
    sampler = NegativeSampler(model.config.loss, torch.ones(ITEMS))
    torch.manual_seed(2)
    candidates = sampler.draw(torch.arange(6))
    assignment = model.quantizer.assign(tokens)
    match = sampled_softmax(model.candidate_scores(tokens, assignment, candidates.items), candidates)
    commit = (tokens - model.quantizer.lookup(assignment.codes).sum(2)).square().sum((1, 2)).mean()
    assert float(commit.detach()) > 0.01
    assert torch.allclose(model.position_loss(tokens, assignment, candidates), match + weight * commit, rtol=1e-5)
    assert torch.allclose(model.position_loss(None, assignment, candidates), match, rtol=1e-5)


@pytest.mark.parametrize("kind", ["dot", "maxsim", "inner_pdnn"])
@pytest.mark.parametrize(("tokens", "item_tokens"), [(1, 1), (1, 4), (4, 1)])
def test_products_begin_at_the_towers_scores(kind: str, tokens: int, item_tokens: int) -> None:
    several = {"tokenizer.tokens": tokens}
    overrides = several | {"scorer.kind": kind, "tokenizer.item_tokens": item_tokens, "scorer.free_codes": False}
    model = made(**overrides)
    late = AllToAll(load_config(overrides=overrides | {"model": "all_to_all", "all_to_all.form": "late"}), ITEMS).eval()
    torch.manual_seed(3)
    tower = TwoTower(load_config(overrides=several | {"model": "two_tower"}), ITEMS).eval()
    tower.log_scale.data.add_(1.0)  # as if it had learned
    items = torch.arange(ITEMS)
    with torch.no_grad():
        model.begin_from(tower)
        late.begin_from(tower)
        read = tower.tokens(*reading())
        (towers,) = tower.member_scores(read, items)
        for ours in (
            model.pair_scores(read.flatten(0, 1), model.items(items)).view(-1, tokens, ITEMS).sum(1),
            late.interaction(late.read(*reading()), late.items(items), late.log_scale.exp()),
        ):
            assert float((ours * towers).sum() / towers.square().sum()) == pytest.approx(1.0, abs=0.1)


def test_what_is_not_retrieved_is_not_ranked() -> None:
    """As an engine answers: with b that cuts everything no item has a place, not all of them a shared one."""
    model, items = made(**{"item_codes.latest": 0}), np.arange(12, dtype=np.uint32)
    cases = Cases(items[:1], np.array([0, 5], np.uint64), items[:5], np.array([0, 2], np.uint64), items[5:7])
    scores = model.case_scores(cases)(np.arange(1))
    assert (np.isneginf(scores) | (scores > 0)).all()
    assert (scores > 0).any()
    with torch.no_grad():
        model.bias_parameter.fill_(-1e4)
    for convention in ("standard", "deezer"):
        found = rank_metrics(model.case_scores(cases), cases, ITEMS, convention=convention)["all"]
        assert found["recall@20"] == found["recall@50"] == 0


@pytest.mark.parametrize("assignment", ["nearest", "pursuit"])
def test_case_scores_are_equation_11_with_its_bias_and_the_item_codes(assignment: str) -> None:
    options = {"quantizer.assignment": assignment, "quantizer.codes_per_token": 3, "tokenizer.tokens": 2}
    model = made(**options, **{"item_codes.latest": 2, "item_codes.decay": 0.5})
    rng = np.random.default_rng(4)
    assert model.item_memory is not None
    model.item_memory.fit(sparse.csr_matrix(rng.integers(0, 3, (ITEMS, ITEMS)).astype(float)), np.ones(ITEMS))
    model.item_memory.weight.fill_(0.7)
    model.bias_parameter.data.fill_(-1.0)
    offsets, items = np.array([0, 4, 9], np.uint64), rng.integers(0, ITEMS, 9).astype(np.uint32)
    cases = Cases(np.zeros(2, np.uint32), offsets, items, np.arange(3, dtype=np.uint64), items[:2])
    codes, boosts = assign_codes(model, encode_tokens(model, offsets, items, cases.users))
    expected, cut = np.zeros((2, ITEMS)), 0
    for case, last in enumerate((3, 8)):
        for code, boost in zip(codes[case], boosts[case], strict=True):
            shifted = model.score_codes(code[None], slice(None))[0] - 1.0
            expected[case] += boost * np.maximum(shifted, 0)
            cut += int((shifted < 0).sum())
        lifts = model.item_memory.lifts[items[[last, last - 1]]].toarray()
        expected[case] += 0.7 * (lifts[0] + 0.5 * lifts[1])
    assert 0 < cut < 0.9 * codes.shape[0] * codes.shape[1] * ITEMS
    expected[expected == 0] = -np.inf
    np.testing.assert_allclose(model.case_scores(cases)(np.arange(2)), expected, rtol=1e-4, atol=1e-4)
