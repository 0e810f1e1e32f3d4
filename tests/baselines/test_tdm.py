"""TDM's search: against brute force, and on a tree small enough for a hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from sparcode_es.baselines.tdm import TDM
from sparcode_es.baselines.two_tower import TwoTower
from sparcode_es.config import LossConfig, load_config
from sparcode_es.models.batches import Windows
from sparcode_es.models.losses import NegativeSampler
from training.small import SMALL


def _model(items: int, **options: object) -> TDM:
    settings = SMALL | {"model": "tdm"} | {f"tdm.{name}": value for name, value in options.items()}
    model = TDM(load_config(overrides=settings), items).eval()
    model.order.copy_(torch.randperm(items))
    for parameter in model.scorer.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return model


@settings(max_examples=25)
@given(
    items=st.integers(1, 60),
    branching=st.integers(2, 5),
    interaction=st.sampled_from(["dot", "mlp"]),
    seed=st.integers(0, 9),
)
@torch.inference_mode()
def test_a_beam_as_wide_as_the_level_finds_what_brute_force_finds(
    items: int, branching: int, interaction: str, seed: int
) -> None:
    torch.manual_seed(seed)
    model = _model(items, branching=branching, interaction=interaction, beam=items)
    users = torch.randn(4, 16)
    found, scores = model.search(users)
    table = torch.full((4, items + 1), -torch.inf).scatter(1, found % (items + 1), scores)[:, :-1]
    expected = model.scorer(users, model.leaves.weight, model.log_scale.exp())
    torch.testing.assert_close(table, expected, rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_a_narrow_beam_by_hand() -> None:
    """Leaves 0…7 in order, one dimension that counts. The best leaf, 7, stands below the worse half and is missed."""
    model = _model(8, interaction="dot", beam=1)
    model.order.copy_(torch.arange(8))
    for table, values in zip(
        [*model.inner, model.leaves], [[2.0, 1.0], [1.0, 3.0, 9.0, 9.0], [0, 0, 5, 4, 0, 0, 0, 99]], strict=True
    ):
        table.weight.zero_()  # type: ignore[union-attr, operator]
        table.weight[:, 0] = torch.tensor(values)  # type: ignore[union-attr, index, operator]
    model.log_scale.zero_()
    user = torch.zeros(1, 16)
    user[0, 0] = 1.0
    found, scores = model.search(user)
    assert found.tolist() == [[2, 3]]  # the left half, its right quarter
    assert scores.tolist() == [[5.0, 4.0]]
    wide = _model(8, interaction="dot", beam=2)
    wide.load_state_dict(model.state_dict())
    assert wide.search(user)[0].tolist() == [[4, 5, 6, 7]]  # both halves are kept, then the two quarters that score 9


@pytest.mark.parametrize("items", [40, 41])
def test_the_tree_is_made_of_the_towers_items_and_made_anew_as_often_as_asked(items: int) -> None:
    model = _model(items, relearn_every=2, relearn_times=1)
    tower = TwoTower(model.config, items)
    model.begin_from(tower)
    vectors = tower.tokenizer.targets(torch.arange(items))
    torch.testing.assert_close(model.leaves.weight, vectors)
    first = model.inner[0].weight
    half = model.order[: model.bounds[1][1]]
    torch.testing.assert_close(first[0], vectors[half].mean(0))  # type: ignore[index]
    order = model.order.clone()
    torch.nn.init.normal_(model.leaves.weight)
    assert model.after_epoch() == {}
    assert torch.equal(model.order, order)
    assert model.after_epoch() == {"tree": 2.0}
    assert not torch.equal(model.order, order)
    assert [model.after_epoch() for _ in range(4)] == [{}] * 4


def test_a_levels_sampler_draws_nodes_as_often_as_their_items() -> None:
    model = _model(6, num_negatives=3)
    counts = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    sampler = NegativeSampler(LossConfig(num_negatives=5), counts)
    ordered = counts[model.order] / 21
    first, last = model.level_sampler(1, sampler), model.level_sampler(3, sampler)
    torch.testing.assert_close(first.share, torch.stack([ordered[:3].sum(), ordered[3:].sum()]))
    torch.testing.assert_close(last.share, ordered)
    assert (first.config.negatives, last.config.negatives, last.config.num_negatives) == ("all", "mixed", 3)


def test_items_that_are_not_reached_score_minus_infinity() -> None:
    from sparcode_es.data.dataset import Cases

    model = _model(33, beam=2)
    offsets = np.array([0, 3, 5], dtype=np.uint64)
    history = np.array([1, 2, 3, 30, 31], dtype=np.uint32)
    cases = Cases(np.arange(2, dtype=np.uint32), offsets, history, np.arange(3, dtype=np.uint64), history[:2])
    scores = model.case_scores(cases)(np.arange(2))
    reached = np.isfinite(scores).sum(1)
    assert (reached >= 2).all()
    assert (reached <= 4).all()
    assert np.isneginf(scores[~np.isfinite(scores)]).all()


@pytest.mark.parametrize("order", [[0, 1, 1], [0, 1, 3], [-1, 0, 1]])
def test_a_saved_tree_has_each_item_once(order: list[int]) -> None:
    model = _model(3)
    with pytest.raises(ValueError, match="each of 3 items once"):
        _model(3).load_state_dict(model.state_dict() | {"order": torch.tensor(order)})


def test_its_loss_is_the_softmax_of_each_level_on_the_targets_path() -> None:
    torch.manual_seed(0)
    model = _model(13, num_negatives=99, positions=99)
    torch.nn.init.normal_(model.leaves.weight)
    items = np.random.default_rng(0).integers(0, 13, 9).astype(np.uint32)
    batch = next(Windows(np.array([0, 5, 9]), items, np.full(2, -1), 8).batches(2, None))
    users = model.tokens(batch.histories, batch.positions, batch.users).mean(1)
    places = torch.tensor([model.order.tolist().index(item) for item in batch.targets.tolist()])
    scale = model.log_scale.exp()
    each = [
        F.cross_entropy(
            model.scorer(users, model.vectors(level, torch.arange(nodes)), scale), model.nodes[level - 1][places]
        )
        for level, nodes in enumerate(model.sizes)
        if level
    ]
    found = model.loss(batch, NegativeSampler(LossConfig(), torch.ones(13)))
    torch.testing.assert_close(found, torch.stack(each).mean(), rtol=1e-4, atol=1e-5)
