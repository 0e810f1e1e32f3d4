"""Tables of a terminal: width, wide letters, and nothing that a terminal would obey."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sparcode_es_cli.tables import cut, table, width

from sparcode_es.visible import visible, visible_lines


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Star Wars", "Star Wars"),
        ("\x1b[31mred", "␛[31mred"),
        ("a\nb\tc\x00", "a␊b␉c␀"),
        ("\x7f\x9b", "␡\\u009b"),
        ("\u202eevil\u2028", "\\u202eevil\\u2028"),
        ("東京 é", "東京 é"),
        ("\ud800", "\\ud800"),
    ],
)
def test_visible(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(st.text())
def test_nothing_invisible_is_left(text: str) -> None:
    assert {unicodedata.category(each) for each in visible(text)} & {"Cc", "Cf", "Cs", "Zl", "Zp"} == set()


@given(st.text(), st.integers(1, 30))
def test_a_cut_text_fits(text: str, room: int) -> None:
    shown = cut(visible(text), room)
    assert width(shown) <= room
    assert shown == visible(text) or shown.endswith("…")


def test_columns_stand_below_each_other() -> None:
    lines = table(("count", "code", "name"), [(1, "12_201", "東京"), (1234, "7", "a\nb")])
    assert lines == [
        "count  code    name",
        "    1  12_201  東京",
        " 1234  7       a␊b",
    ]
    assert table(("x", "y"), [(None, 0.5), (1.25, None)]) == ["     x       y", "     –  0.5000", "1.2500       –"]


@given(
    st.lists(st.tuples(st.integers(0, 99), st.text(max_size=40), st.text(max_size=60)), max_size=6), st.integers(40, 90)
)
def test_no_line_is_wider_than_the_screen(rows: list[tuple[int, str, str]], room: int) -> None:
    for line in table(("n", "code", "title"), rows, room):
        assert width(line) <= room
        assert "\n" not in line


def test_an_empty_table_is_its_headers() -> None:
    assert table(("a", "b"), []) == ["a  b"]


def test_a_line_that_nobody_would_read_is_shortened() -> None:
    found = visible_lines(f"item {'i' * 100_000} is unknown\nfine")
    assert len(found) < 2100
    assert found.startswith("item iii")
    assert found.endswith("iii is unknown\nfine")
