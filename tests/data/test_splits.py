"""Splits and filters: deterministic, nothing lost, no event of the future in training, the largest k-core."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparcode_es.data.filters import k_core
from sparcode_es.data.labels import CONTEXT, TEST, TRAIN, VALID
from sparcode_es.data.splits import SplitOptions, label_events
from sparcode_es.errors import ConfigError, DataError

LENGTHS = st.lists(st.integers(1, 9), min_size=1, max_size=40)


def offsets_of(lengths: list[int]) -> np.ndarray:
    return np.cumsum([0, *lengths]).astype(np.uint64)


@given(LENGTHS, st.integers(1, 4))
def test_the_last_events_are_asked_of_users_who_have_one_more_than_twice_as_many(lengths: list[int], last: int) -> None:
    labels = label_events(offsets_of(lengths), None, SplitOptions("leave-last-out", last=last))
    for user, part in zip(lengths, np.split(labels, np.cumsum(lengths)[:-1]), strict=True):
        asked = [VALID] * last + [TEST] * last if user > 2 * last else []
        assert part.tolist() == [TRAIN] * (user - len(asked)) + asked
    if last == 1:
        assert (labels == label_events(offsets_of(lengths), None, SplitOptions())).all()


def test_no_event_to_ask_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least one event"):
        SplitOptions("leave-last-out", last=0)


@given(st.lists(st.integers(1, 9), min_size=3, max_size=60), st.integers(0, 5), st.sampled_from([0.1, 0.2, 0.4]))
def test_users_are_held_out_whole(lengths: list[int], seed: int, held_out: float) -> None:
    options = SplitOptions("users", seed, held_out)
    share = round(len(lengths) * held_out)
    if share == 0 or len(lengths) - 2 * share < 1:
        with pytest.raises(DataError, match="too few"):
            label_events(offsets_of(lengths), None, options)
        return
    labels = label_events(offsets_of(lengths), None, options)
    assert (labels == label_events(offsets_of(lengths), None, options)).all()
    parts = np.split(labels, np.cumsum(lengths)[:-1])
    kinds = [frozenset(part.tolist()) for part in parts]
    assert all(kind == {TRAIN} or TRAIN not in kind for kind in kinds)
    assert all(not {VALID, TEST} <= kind for kind in kinds)
    assert sum(kind != {TRAIN} for kind in kinds) == 2 * share
    for part in parts:
        if part[0] != TRAIN:
            context = max(1, int(len(part) * 0.8))
            assert (part[:context] == CONTEXT).all()
            assert (part[context:] != CONTEXT).all()


@given(st.lists(st.integers(0, 20), min_size=1, max_size=60), st.sampled_from([0.05, 0.1, 0.3]))
def test_no_training_event_lies_after_a_validation_event_nor_that_after_a_test_event(
    times: list[int], held_out: float
) -> None:
    seconds = np.array(times)
    labels = label_events(offsets_of([len(times)]), seconds, SplitOptions("temporal", held_out=held_out))
    latest = -1
    for label in (TRAIN, VALID, TEST):
        there = seconds[labels == label]
        if len(there):
            assert there.min() > latest
            latest = int(there.max())
    assert np.isin(labels, [TRAIN, VALID, TEST]).all()


def test_temporal_bounds_may_be_given_and_must_be_in_order() -> None:
    options = SplitOptions("temporal", valid_from=3, test_from=5)
    assert label_events(offsets_of([6]), np.arange(1, 7), options).tolist() == [TRAIN] * 2 + [VALID] * 2 + [TEST] * 2
    with pytest.raises(ConfigError, match="before the test"):
        SplitOptions("temporal", valid_from=6, test_from=5)
    with pytest.raises(DataError, match="needs timestamps"):
        label_events(offsets_of([6]), None, options)


@pytest.mark.parametrize("options", [{"held_out": 0.0}, {"held_out": 0.5}, {"context": 1.0}, {"context": 0.0}])
def test_shares_that_leave_nothing_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="share must lie between"):
        SplitOptions("users", **options)  # type: ignore[arg-type]


@given(
    st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), min_size=1, max_size=60),
    st.integers(1, 4),
    st.integers(1, 4),
)
def test_the_k_core_is_the_largest_set_that_keeps_the_bounds(
    pairs: list[tuple[int, int]], min_user: int, min_item: int
) -> None:
    users, items = np.array(pairs).T
    kept = k_core(users, items, min_user, min_item)
    for column, least in ((users, min_user), (items, min_item)):
        counts = np.bincount(column[kept], minlength=8)
        assert (counts[column[kept]] >= least).all()
    # Taking them out one at a time, in any order, ends at the same set.
    left = list(range(len(pairs)))
    while True:
        bad = [
            e
            for e in left
            if sum(users[f] == users[e] for f in left) < min_user or sum(items[f] == items[e] for f in left) < min_item
        ]
        if not bad:
            break
        left.remove(bad[-1])
    assert np.flatnonzero(kept).tolist() == left
