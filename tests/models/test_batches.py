"""Windows and negatives: every training pair once, and the right probabilities."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparcode_es.config import LossConfig
from sparcode_es.models.batches import Pairs, Windows
from sparcode_es.models.losses import NegativeSampler, sampled_softmax


def pairs_of(windows: Windows, batch_size: int, generator: np.random.Generator | None) -> list[tuple[int, int, int]]:
    found = []
    for batch in windows.batches(batch_size, generator):
        L = batch.histories.shape[1]
        for position, target in zip(batch.positions.tolist(), batch.targets.tolist(), strict=True):
            row, column = divmod(position, L)
            found.append((int(batch.users[row]), int(batch.histories[row, column]), target))
    return found


@settings(max_examples=60)
@given(
    lengths=st.lists(st.integers(0, 23), min_size=1, max_size=8), max_length=st.integers(1, 7), size=st.integers(1, 4)
)
def test_each_event_but_the_first_is_a_target_once(lengths: list[int], max_length: int, size: int) -> None:
    offsets = np.cumsum([0, *lengths]).astype(np.uint64)
    items = np.arange(offsets[-1], dtype=np.uint32)  # an item is its place, so that a pair tells its own order
    windows = Windows(offsets, items, np.arange(len(lengths)), max_length)
    expected = sorted(
        (user, int(item), int(item) + 1)
        for user, (low, high) in enumerate(itertools.pairwise(offsets))
        for item in range(int(low), int(high) - 1)
    )
    assert windows.num_positions == windows.num_targets == len(expected)
    assert windows.target_counts(len(items)).tolist() == [
        float(item in {target for *_, target in expected}) for item in range(len(items))
    ]
    for generator in (None, np.random.default_rng(0)):
        assert sorted(pairs_of(windows, size, generator)) == expected


@settings(max_examples=60)
@given(
    lengths=st.lists(st.integers(2, 23), min_size=1, max_size=8), max_length=st.integers(1, 7), most=st.integers(1, 80)
)
def test_windows_are_drawn_until_they_have_enough_positions(lengths: list[int], max_length: int, most: int) -> None:
    offsets = np.cumsum([0, *lengths]).astype(np.uint64)
    windows = Windows(offsets, np.arange(offsets[-1], dtype=np.uint32), np.arange(len(lengths)), max_length)
    drawn = windows.drawn(most, np.random.default_rng(0))
    positions = [len(batch.positions) for batch in windows.collated(drawn, 1)]
    assert len(set(drawn.tolist())) == len(drawn)
    if sum(positions) == windows.num_positions <= most:
        assert drawn.tolist() == list(range(len(windows)))
    else:
        assert sum(positions[:-1]) < most <= sum(positions)


def test_users_are_drawn_at_random() -> None:
    pairs = Pairs(np.arange(0, 303, 3), np.arange(300), np.arange(100), 2)
    assert pairs.drawn(100, np.random.default_rng(0)).tolist() == list(range(100))
    some, again, other = (pairs.drawn(10, np.random.default_rng(seed)).tolist() for seed in (0, 0, 1))
    assert some == again != other
    assert len(set(some)) == 10


def test_pairs_count_what_an_epoch_draws_of_each_item() -> None:
    """Two of the four items of the first user, and the only one of the second, one of the first's."""
    pairs = Pairs(np.array([0, 4, 4, 5]), np.array([0, 1, 2, 3, 0]), np.arange(3), 2)
    assert pairs.target_counts(6).tolist() == [1.5, 0.5, 0.5, 0.5, 0, 0]
    drawn = np.zeros(6)
    generator = np.random.default_rng(0)
    for _ in range(2000):
        for batch in pairs.batches(2, generator):
            drawn += np.bincount(batch.targets.numpy(), minlength=6)
    np.testing.assert_allclose(drawn / 2000, pairs.target_counts(6), atol=0.05)


def test_the_order_follows_the_generator() -> None:
    windows = Windows(np.arange(0, 330, 3), np.arange(330), np.arange(109), 5)
    first, again, other = (
        [b.targets.tolist() for b in windows.batches(4, np.random.default_rng(seed))] for seed in (1, 1, 2)
    )
    assert first == again != other


@pytest.mark.parametrize("kind", ["uniform", "in_batch", "mixed"])
def test_log_q_is_the_log_probability_of_being_drawn(kind: str) -> None:
    torch.manual_seed(0)
    counts = torch.tensor([50.0, 30.0, 10.0, 5.0, 5.0])
    sampler = NegativeSampler(LossConfig(negatives=kind, num_negatives=3), counts)  # type: ignore[arg-type]
    trials, drawn, log_q = 4000, torch.zeros(5), torch.zeros(5)
    for _ in range(trials):
        candidates = sampler.draw(torch.multinomial(counts, 4, replacement=True))
        drawn[candidates.items[candidates.allowed]] += 1
        log_q[candidates.items] = candidates.log_q
    assert torch.allclose(drawn / trials, log_q.exp(), atol=0.1)


@settings(max_examples=30)
@given(lengths=st.lists(st.integers(2, 12), min_size=1, max_size=6), each=st.integers(1, 13))
def test_some_positions_of_each_history(lengths: list[int], each: int) -> None:
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.uint64)
    windows = Windows(offsets, np.arange(offsets[-1]), np.arange(len(lengths)), 12)
    whole = windows.collate(np.arange(len(windows)))
    some, L = whole.some(each), whole.histories.shape[1]
    assert torch.equal(some.targets, some.histories.flatten()[some.positions] + 1)
    counts = torch.bincount(some.positions // L, minlength=len(lengths))
    assert counts.tolist() == [min(each, length - 1) for length in lengths]
    assert len(some.positions.unique()) == len(some.positions)


def test_fewer_negatives_of_the_same_kind() -> None:
    sampler = NegativeSampler(LossConfig(negatives="uniform", num_negatives=9), torch.tensor([1.0, 3.0]))
    fewer = sampler.drawing(4)
    assert (fewer.config.negatives, fewer.config.num_negatives) == ("uniform", 4)
    assert torch.equal(fewer.share, sampler.share)
    assert sampler.drawing(99).config.num_negatives == 9


def test_every_position_finds_its_own_item() -> None:
    torch.manual_seed(0)
    sampler = NegativeSampler(LossConfig(negatives="uniform", num_negatives=2), torch.ones(40))
    targets = torch.tensor([3, 3, 17, 39])
    candidates = sampler.draw(targets)
    assert torch.equal(candidates.items[candidates.target], targets)
    assert int(candidates.allowed.sum()) <= 2


def test_softmax_over_all_items_is_cross_entropy() -> None:
    """With every item drawn for certain, Eq. 12 is the full softmax."""
    for config in (LossConfig(negatives="uniform", num_negatives=100_000), LossConfig(negatives="all")):
        _check_full_softmax(NegativeSampler(config, torch.ones(6)))


def _check_full_softmax(sampler: NegativeSampler) -> None:
    targets = torch.tensor([0, 5, 2])
    candidates = sampler.draw(targets)
    scores = torch.randn(3, 6, generator=torch.Generator().manual_seed(0))
    expected = torch.nn.functional.cross_entropy(scores, targets)
    assert sampled_softmax(scores, candidates).item() == pytest.approx(expected.item(), abs=1e-4)


def test_a_long_history_is_cut_with_half_a_window_of_context() -> None:
    items = np.arange(40, dtype=np.uint32)
    for batch in Windows(np.array([0, 40]), items, np.zeros(1, np.int64), 8).batches(3, None):
        L = batch.histories.shape[1]
        for position, target in zip(batch.positions.tolist(), batch.targets.tolist(), strict=True):
            row, column = divmod(position, L)
            seen = batch.histories[row, : column + 1].tolist()
            assert seen == list(range(target - len(seen), target))
            assert len(seen) >= min(target, 4)
