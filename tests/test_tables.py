"""String tables: any text goes in and comes back, and is found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparcode_es.errors import DataError
from sparcode_es.tables import StringTable


def encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


@settings(max_examples=80)
@given(strings=st.lists(st.text(max_size=20), unique=True, max_size=30), other=st.text(max_size=20))
def test_look_ups_both_ways(strings: list[str], other: str) -> None:
    table = StringTable.build(strings)
    assert list(table) == strings
    assert [table.find(text) for text in strings] == list(range(len(strings)))
    backwards = np.arange(len(strings))[::-1]
    assert table.texts(backwards) == strings[::-1]
    assert table.find(other) == (strings.index(other) if other in strings else None)
    assert [strings[row].encode() for row in table.order()] == sorted(text.encode() for text in strings)


@settings(max_examples=80)
@given(strings=st.lists(st.text("abé\ud800", max_size=4), unique=True), start=st.text("abé", max_size=2))
def test_those_that_begin_so(strings: list[str], start: str) -> None:
    expected = sorted((text for text in strings if text.startswith(start)), key=encoded)
    for count in (0, 1, 3, len(strings) + 1):
        assert StringTable.build(strings).beginning(start, count) == expected[:count]


def test_a_beginning_reads_no_more_of_the_order_than_a_search() -> None:
    class Order(np.ndarray):
        def max(self, *_: Any, **__: Any) -> Any:
            raise AssertionError("all of it")

    table = StringTable.build(["b", "ab", "aa", "c"])
    assert table._order is not None
    table._order = table._order.view(Order)
    assert table.beginning("a", 9) == ["aa", "ab"]


@pytest.mark.parametrize("searchable", [True, False])
def test_saved_and_mapped(tmp_path: Path, searchable: bool) -> None:
    strings = ["b", "", "日本", 'quo"te', "a\nb"]
    names = StringTable.build(strings, searchable).save(tmp_path, "ids")
    assert names == StringTable.file_names("ids", searchable)
    table = StringTable.open(tmp_path, "ids", searchable)
    assert list(table) == strings
    if searchable:
        assert table.find("日本") == 2
    else:
        with pytest.raises(TypeError):
            table.find("b")


def test_half_a_surrogate_pair_comes_back() -> None:
    table = StringTable.build(["a", "\ud800", "é"])
    assert table.texts(np.array([2, 1, 0])) == ["é", "\ud800", "a"]


def test_a_repeated_string_is_named() -> None:
    with pytest.raises(DataError, match="'x' occurs twice"):
        StringTable.build(["x", "y", "x"])


def test_damage_is_named(tmp_path: Path) -> None:
    StringTable.build(["a", "bc"]).save(tmp_path, "ids")
    np.save(tmp_path / "ids.bytes.npy", np.zeros(2, dtype=np.uint8))
    with pytest.raises(DataError, match="ids"):
        StringTable.open(tmp_path, "ids")
    (tmp_path / "ids.order.npy").write_bytes(b"nothing")
    with pytest.raises(DataError, match="ids"):
        StringTable.open(tmp_path, "ids")
    with pytest.raises(DataError, match="other"):
        StringTable.open(tmp_path, "other")


def test_rows_outside_are_errors() -> None:
    table = StringTable.build(["a"])
    with pytest.raises(IndexError):
        table[1]
    with pytest.raises(IndexError):
        table[-1]
