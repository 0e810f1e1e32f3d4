"""Rows by term: every code is found by its own term and by no other text."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparcode_es.codes import ITEM_HEAD, REPEAT_HEAD, term_of, unique_codes
from sparcode_es.postings.terms import TermRows

NUMBERS = st.integers(0, 999_999_999)


@given(
    st.integers(1, 3).flatmap(lambda m: st.lists(st.tuples(*[NUMBERS] * (1 + m)), max_size=30)),
    st.sets(st.tuples(st.sampled_from([REPEAT_HEAD, ITEM_HEAD]), st.integers(0, 5000)), max_size=20),
)
def test_every_code_has_its_row(plain: list[tuple[int, ...]], of_items: set[tuple[int, int]]) -> None:
    width = len(plain[0]) if plain else 2
    codes = [*plain, *((*code, *[0] * (width - 2)) for code in of_items)]
    table, _ = unique_codes(np.array(codes, dtype=np.uint32).reshape(-1, width))
    rows = TermRows(table, shared_heads=False)
    for _ in range(2):
        assert [rows.find(term_of(code, False)) for code in table] == list(range(len(table)))


NO_CODES = ["3", "01", "4294967296", "", "h0_1", "1_1"]
NO_ITEMS = ["item_2", "item_01", "item_", "item_-1", "item_٣", "item_99999999999", "repeat_1", "repeat_", "repeat_03"]


@pytest.mark.parametrize("term", [*NO_CODES, *NO_ITEMS])
def test_other_texts_have_none(term: str) -> None:
    table = np.array([[0, 1], [0, 256], [REPEAT_HEAD, 3], [ITEM_HEAD, 1], [ITEM_HEAD, 3]], dtype=np.uint32)
    rows = TermRows(table, shared_heads=True)
    assert rows.find(term) is None
    assert [rows.find(each) for each in ("1", "256", "repeat_3", "item_1", "item_3")] == [0, 1, 2, 3, 4]


def test_no_codes() -> None:
    assert TermRows(np.zeros((0, 2), dtype=np.uint32), True).find("1") is None
