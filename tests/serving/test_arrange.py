"""Pins, limits a value, marginal relevance and pages hold their promises on any ranking."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparcode_es.engines.base import Contribution
from sparcode_es.errors import ConfigError
from sparcode_es.serving.arrange import MaxPer, Mmr, at_most, by_term, given_by_codes, marginal, overlap, pinned

RANKING = st.lists(st.integers(0, 40), unique=True, max_size=30)
VALUES = st.dictionaries(st.integers(0, 40), st.lists(st.sampled_from("abcd"), max_size=3))
PINS = st.dictionaries(st.integers(1, 45), st.integers(100, 140), max_size=6).filter(
    lambda pins: len(set(pins.values())) == len(pins)
)
GIVEN = st.lists(st.dictionaries(st.sampled_from("pqrst"), st.floats(0.01, 10), min_size=1), min_size=1, max_size=12)


@given(RANKING, VALUES, st.integers(1, 4), st.integers(0, 30))
def test_at_most_so_many(ranking: list[int], values: dict[int, list[str]], count: int, length: int) -> None:
    def own(item: int) -> list[str]:
        return values.get(item, [])

    kept = at_most(ranking, own, count)
    shown = Counter(value for item in kept for value in set(own(item)))
    assert max(shown.values(), default=0) <= count
    assert kept == [item for item in ranking if item in set(kept)]
    for item in set(ranking) - set(kept):  # left out only where it had to be
        before = [other for other in kept if ranking.index(other) < ranking.index(item)]
        assert any(sum(value in own(other) for other in before) >= count for value in own(item))
    assert at_most(ranking[:length], own, count) == kept[: len(at_most(ranking[:length], own, count))]


@given(RANKING, PINS, st.integers(0, 60))
def test_pins_are_where_they_belong(ranking: list[int], pins: dict[int, int], length: int) -> None:
    listed = pinned(ranking, pins, length)
    assert len(listed) == min(length, len(ranking) + len(pins))
    assert [item for item in listed if item < 100] == ranking[: sum(item < 100 for item in listed)]
    for place, item in pins.items():
        if item in listed:
            assert listed.index(item) + 1 <= place
            if place <= len(listed) and sum(other < 100 for other in listed[:place]) < len(ranking):
                assert listed[place - 1] == item
        else:
            assert len(listed) == length


@given(RANKING, PINS, st.integers(1, 9))
def test_pages_put_end_to_end_are_the_list(ranking: list[int], pins: dict[int, int], k: int) -> None:
    whole = pinned(ranking, pins, 200)
    pages = [pinned(ranking[: k * page], pins, k * page)[k * (page - 1) :] for page in range(1, 200 // k)]
    assert [item for page in pages for item in page] == whole


@given(GIVEN, st.floats(0, 1))
def test_marginal_relevance_is_greedy(given_: list[dict[str, float]], weight: float) -> None:
    ranked = sorted(given_, key=lambda parts: -sum(parts.values()))
    scores = [sum(parts.values()) for parts in ranked]
    order = marginal(scores, ranked, weight)
    assert sorted(order) == list(range(len(scores)))

    def value(i: int, before: list[int]) -> float:
        alike = max((jaccard(ranked[i], ranked[j]) for j in before), default=0.0)
        return (1 - weight) * scores[i] / scores[0] - weight * alike

    for n, chosen in enumerate(order):
        assert value(chosen, order[:n]) >= max(value(i, order[:n]) for i in order[n:]) - 2e-9
    assert marginal(scores, ranked, 0.0) == sorted(
        range(len(scores)), key=lambda i: (-round(scores[i] / scores[0], 9), i)
    )


def jaccard(one: dict[str, float], other: dict[str, float]) -> float:
    """The weighted Jaccard similarity in plain Python."""
    terms = one.keys() | other.keys()
    larger = sum(max(one.get(term, 0.0), other.get(term, 0.0)) for term in terms)
    return sum(min(one.get(term, 0.0), other.get(term, 0.0)) for term in terms) / larger


def test_overlap_by_hand() -> None:
    one = given_by_codes([Contribution("1", 1.0, 2.0), Contribution("2", 0.5, 2.0), Contribution("1", 1.0, 1.0)])
    assert one == {"1": 3.0, "2": 1.0}
    table = by_term([one, {"3": 1.0}, {"1": 1.0, "3": 2.0}, {}])
    assert table.tolist() == [[3, 1, 0], [0, 0, 1], [1, 0, 2], [0, 0, 0]]
    assert overlap(table[0], table) == pytest.approx([1.0, 0.0, 1.0 / (3.0 + 1.0 + 2.0), 0.0])
    assert overlap(table[3], table)[3] == 0.0


def test_marginal_relevance_by_hand() -> None:
    """The second item is the first once more: half as good but other, the third comes before it."""
    parts = [{"1": 4.0}, {"1": 4.0}, {"2": 2.0}]
    assert marginal([4.0, 4.0, 2.0], parts, 0.5) == [0, 2, 1]
    assert marginal([4.0, 4.0, 2.0], parts, 0.1) == [0, 1, 2]
    assert marginal([], [], 0.5) == []


@pytest.mark.parametrize(
    "wrong", [lambda: MaxPer("genre", 0), lambda: MaxPer(""), lambda: Mmr(1.5), lambda: Mmr(0.5, 0)]
)
def test_what_cannot_be(wrong: type) -> None:
    with pytest.raises(ConfigError):
        wrong()
