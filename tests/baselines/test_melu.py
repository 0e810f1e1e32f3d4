"""MeLU, by hand: one meta-learning step of a linear model, its second-order gradient, and a user's own weights."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import nn

from baselines.cold import cases
from sparcode_es.baselines.maml import Decision, adapted
from sparcode_es.baselines.melu import MeLU
from sparcode_es.baselines.tasks import Items, labelled, split_batch
from sparcode_es.config import Config, LossConfig, MeLUConfig
from sparcode_es.models.batches import Pairs, Windows
from sparcode_es.models.losses import NegativeSampler


def test_one_step_of_a_linear_model() -> None:
    """y = w·x with w = 0, support (1, 2), query (2, 2), α = 0.1. ∇(w - 2)² = -4, so w' = 0.4; the query's loss is
    (0.8 - 2)² = 1.44 and its slope 2·(-1.2)·2·dw'/dw, where dw'/dw = 1 - 2α = 0.8: -3.84, and -4.8 without second order."""
    w = torch.zeros(1, requires_grad=True)
    (own,) = adapted([w], lambda ws: (ws[0] - 2).square().sum(), steps=1, rate=0.1, differentiable=True)
    assert own.item() == pytest.approx(0.4)
    loss = (2 * own - 2).square().sum()
    assert loss.item() == pytest.approx(1.44)
    loss.backward()
    assert w.grad is not None
    assert float(w.grad) == pytest.approx(-3.84)


def test_two_steps_and_tasks_of_their_own() -> None:
    """w' = w - 0.2·(w - y): 0.2·y after one step, 0.36·y after two, whatever the other task's y is."""
    y = torch.tensor([[1.0], [-10.0]])
    start = torch.zeros(2, 1, requires_grad=True)
    (own,) = adapted([start], lambda ws: (ws[0] - y).square().sum(), steps=2, rate=0.1, differentiable=False)
    torch.testing.assert_close(own.detach(), 0.36 * y)


class WithoutNorm(nn.LayerNorm):
    """So that an embedding stays as it was set."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return input


def linear(**settings: object) -> MeLU:
    """logit = <w, (user, item)> + b, all 0; the item embeddings are (1, 0), (0, 1), (1, 1)."""
    settings = {
        "dim": 2,
        "hidden": (),
        "local_layers": 1,
        "local_learning_rate": 0.8,
        "support": 1,
        "negatives": 1,
        **settings,
    }
    model = MeLU(dataclasses.replace(Config(), melu=MeLUConfig(**settings)), 3, 4)  # type: ignore[arg-type]
    assert model.item_embedding is not None
    model.item_norm = WithoutNorm(2)
    model.item_embedding.weight.data.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]))
    for tensor in model.decision.parameters():
        tensor.data.zero_()
    return model


def test_a_users_own_weights() -> None:
    """At logit 0 the slope is ½·(-½·x⁺ + ½·x⁻), so that w' = α/4·(x⁺ - x⁻) = (0.2, -0.2) and b stays 0."""
    model = linear()
    support = labelled(torch.tensor([[0]]), torch.tensor([[True]]), torch.tensor([[1]]))
    weight, bias = model.local_weights(torch.zeros(1, 2), support, differentiable=False)
    torch.testing.assert_close(weight, torch.tensor([[[0.0, 0.0, 0.2, -0.2]]]))
    torch.testing.assert_close(bias, torch.zeros(1, 1))


def test_scores_with_and_without_a_history() -> None:
    """The one random item of every case follows from the seed. A case without a history has the global weights: 0."""
    model = linear()
    negative = int(torch.randint(3, (1, 1), generator=torch.Generator().manual_seed(0)))
    x = model.item_embedding.weight.detach()  # type: ignore[union-attr]
    scores = model.case_scores(cases([2, 0], []))(np.array([1, 0]))
    np.testing.assert_allclose(scores, torch.stack([torch.zeros(3), 0.2 * (x @ (x[0] - x[negative]))]), atol=1e-6)


def test_a_support_set_may_be_as_long_as_the_history() -> None:
    """The first of 300 events counts as the latest does: one local step's direction is their mean."""
    model = linear(support=300)
    first, last, none = model.case_scores(cases([0, *[2] * 299], [*[2] * 299, 0], [2] * 300))(np.arange(3))
    np.testing.assert_allclose(first, last, atol=1e-6)
    assert not np.allclose(first, none, atol=1e-6)


def test_only_the_last_layers_adapt() -> None:
    decision = Decision(2, [5, 4])
    assert [tuple(t.shape) for t in decision.last(2)] == [(4, 5), (4,), (1, 4), (1,)]
    users, items = torch.randn(3, 2), torch.randn(3, 6, 2)
    shared = decision(users, items)
    tail = [t.expand(3, *t.shape) for t in decision.last(3)]
    torch.testing.assert_close(decision(users, items, tail), shared)
    torch.testing.assert_close(decision(users, items[0])[1], decision(users[1:2], items[:1])[0])
    joined = torch.cat([users.unsqueeze(1).expand(3, 6, 2), items], dim=-1)
    first, second, last = decision.layers
    torch.testing.assert_close(shared, last(second(first(joined).relu()).relu()).squeeze(-1))


@pytest.mark.parametrize("seed", range(5))
def test_support_comes_before_query(seed: int) -> None:
    """Item n is the n-th event of its user, so that order shows."""
    torch.manual_seed(seed)
    items = np.concatenate([np.arange(9), np.arange(3), np.arange(2)]).astype(np.uint32)
    batch = Windows(np.array([0, 9, 12, 14]), items, np.arange(3), 6).collate(np.arange(4))
    support, known, query, asked = split_batch(batch, MeLUConfig(support=3, query=2, cold_share=0.0))
    assert known.any(1).all()
    assert asked.any(1).all()
    for b in range(len(support)):
        first = int(query[b, 0])
        assert query[b][asked[b]].tolist() == list(range(first, first + int(asked[b].sum())))
        assert support[b][known[b]].tolist() == list(range(first - 1, first - 1 - int(known[b].sum()), -1))


@pytest.mark.parametrize("seed", range(5))
def test_users_alone_are_cut_likewise(seed: int) -> None:
    """Three users with 4, 1 and 2 items, each item once: support and query have no item in common."""
    torch.manual_seed(seed)
    pairs = Pairs(np.array([0, 4, 5, 7]), np.arange(10, 17).astype(np.uint32), np.arange(3), 4)
    batch = pairs.collate(np.arange(3), np.random.default_rng(seed))
    support, known, query, asked = split_batch(batch, MeLUConfig(support=4, query=4, cold_share=0.0))
    assert asked.any(1).all()
    for b, own in enumerate([{10, 11, 12, 13}, {14}, {15, 16}]):
        before, after = support[b][known[b]].tolist(), query[b][asked[b]].tolist()
        assert set(before) | set(after) == own
        assert len(before) + len(after) == len(own)


def test_a_cold_users_support_is_withheld() -> None:
    batch = Windows(np.array([0, 5]), np.arange(5).astype(np.uint32), np.arange(1), 6).collate(np.arange(1))
    assert not split_batch(batch, MeLUConfig(cold_share=1.0))[1].any()


def test_labels_and_weights() -> None:
    found = labelled(
        torch.tensor([[1, 2], [3, 0]]), torch.tensor([[True, True], [False, False]]), torch.tensor([[7, 8], [9, 6]])
    )
    assert isinstance(found, Items)
    assert found.items.tolist() == [[1, 2, 7, 8], [3, 0, 9, 6]]
    assert found.labels.tolist() == [[1, 1, 0, 0]] * 2
    assert found.weights.tolist() == [[0.25] * 4, [0.0] * 4]


def test_the_meta_update_reaches_embeddings_and_global_weights() -> None:
    torch.manual_seed(0)
    model = MeLU(
        dataclasses.replace(Config(), melu=MeLUConfig(dim=4, hidden=(3,), local_layers=1, cold_share=0.0)), 9, 2
    )
    batch = Windows(np.array([0, 9]), np.arange(9).astype(np.uint32), np.arange(1), 9).collate(np.arange(1))
    model.loss(batch, NegativeSampler(LossConfig(), torch.ones(9))).backward()
    for name, parameter in model.named_parameters():
        if not name.startswith("user"):
            assert parameter.grad is not None, name
            assert parameter.grad.any(), name


def test_a_user_held_to_be_cold_is_judged_by_items_that_taught_nothing() -> None:
    """All weights 0: adapting to the support moves none of what the query needs, and each label costs log 2."""
    batch = Windows(np.array([0, 3]), np.arange(3, dtype=np.uint32), np.arange(1), 6).collate(np.arange(1))
    assert linear(cold_share=1.0).loss(batch, None).item() == pytest.approx(math.log(2))  # type: ignore[arg-type]
