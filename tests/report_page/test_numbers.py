"""Numbers as texts, and ticks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparcode_es.report.numbers import decimal, percent, short, size, span, ticks, whole


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (whole(1682), "1,682"),
        (short(0.05), "0.05"),
        (short(1682), "1,682"),
        (short(34_000), "34k"),
        (short(1_230_000), "1.23M"),
        (short(2e9), "2G"),
        (decimal(None), "–"),
        (decimal(0.000117), "0.000117"),
        (percent(0.1236, 2), "12.36\u00a0%"),
        (percent(None), "–"),
        (size(None), "–"),
        (size(999), "999\u00a0bytes"),
        (size(11_663_541), "11.7\u00a0MB"),
        (span(3), "3 s"),
        (span(423), "7 min 3 s"),
        (span(7261), "2 h 1 min"),
    ],
)
def test_texts(text: str, expected: str) -> None:
    assert text == expected


@given(st.floats(-1e9, 1e9, allow_nan=False), st.floats(1e-6, 1e9, allow_nan=False), st.integers(2, 9))
def test_ticks_are_round_few_and_inside(low: float, room: float, count: int) -> None:
    high = low + max(room, abs(low) * 1e-6)
    found = ticks(low, high, count)
    slack = (high - low) * 1e-6
    assert len(found) <= count + 1
    assert found == sorted(set(found))
    assert all(low - slack <= tick <= high + slack for tick in found)


def test_ticks_of_a_point() -> None:
    assert ticks(3.0, 3.0) == [3.0]
    assert ticks(0.0, 1.0) == [0.0, 0.25, 0.5, 0.75, 1.0]
