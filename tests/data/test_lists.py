"""Cells of the item column that are lists: which texts are, and that their entries are looked at as other cells are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from sparcode_es_cli.main import cli

from sparcode_es.data.dataset import Dataset
from sparcode_es.data.lists import entries_of
from sparcode_es.errors import DataError

TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), max_size=5)


def run(folder: Path, cells: list[Any], *flags: str, kind: str = "csv") -> list[tuple[str, str]]:
    """The events of users a, b, … with these cells as items."""
    path = folder / f"log.{kind}"
    users = list("abcdefghijkl"[: len(cells)])
    if kind == "csv":
        pd.DataFrame({"user": users, "item": cells}).to_csv(path, index=False)
    else:
        pq.write_table(pa.table({"user": users, "item": cells}), path)
    result = CliRunner().invoke(cli, ["data", "import", str(path), "--out", str(folder / "data"), *flags])
    if result.exception is not None:
        raise result.exception
    found = Dataset.open(folder / "data")
    pairs = zip(found.users, found.items, strict=True)
    return [(found.user_ids[int(user)], found.item_ids[int(item)]) for user, item in pairs]


@given(TEXTS)
def test_what_python_json_and_numpy_write_is_read(texts: list[str]) -> None:
    forms = [str(texts), json.dumps(texts), json.dumps(texts, ensure_ascii=False)]
    for text in forms:
        assert entries_of(text) == texts
    if texts:
        assert entries_of(str(np.array(texts, dtype=object))) == texts


@given(st.text("[]'\"\\ ,a.1(\n", max_size=12))
def test_any_other_text_is_a_list_or_none(text: str) -> None:
    for cell in (text, f"[{text}]"):
        found = entries_of(cell)
        assert found is None or cell[0] + cell[-1] == "[]"


@pytest.mark.parametrize(
    ("text", "entries"),
    [
        ("[a, b]", ["a", "b"]),
        ("[ 1  2\n 10]", ["1", "2", "10"]),
        ("[1.0, nan, None]", ["1.0", "nan", "None"]),
        ("[ ]", []),
        ("[a, b c]", None),
        ("[a,,b]", None),
        ("[a, b,]", None),
        ("['a''b']", None),
        ("[0 1 ... 8 9]", None),
        ("[np.int64(1)]", None),
        ("[[1], [2]]", None),
        ("['a", None),
        (r"['C:\data']", None),
        (r'["\ud800"]', None),
        ("[" + " " * 100_000 + "x(]", None),
        ("a", None),
        ("[", None),
    ],
)
def test_forms(text: str, entries: list[str] | None) -> None:
    assert entries_of(text) == entries


@pytest.mark.parametrize(
    "cells",
    [
        [["i1", "i2"], ["i2"], []],
        ['["i1", "i2"]', '["i2"]', "[]"],
        [np.array(["i1", "i2"]), np.array(["i2"]), np.array([], dtype=str)],
        ["[i1, i2]", "[i2]", "[]"],
    ],
)
def test_each_entry_of_a_cell_is_an_event(tmp_path: Path, cells: list[Any]) -> None:
    assert run(tmp_path, cells) == [("a", "i1"), ("a", "i2"), ("b", "i2")]


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        (["i1", ""], "an entry of the items is empty"),
        (["i1", " "], "an entry of the items is empty"),
        (["i1", "nan"], "an entry of the items is NaN or null"),
        (["i1", "-1"], r"an entry of the items is negative \(--negative-ids"),
        (["i1", None], "an entry of the items is (empty|NaN or null)"),
        (None, "the list of items is missing"),
    ],
)
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_bad_entries_make_bad_rows(tmp_path: Path, kind: str, cell: list[str] | None, reason: str) -> None:
    cells, line = [["i1", "i2"], cell, ["i3"]], 3 if kind == "csv" else 2
    with pytest.raises(DataError) as error:
        run(tmp_path, cells, kind=kind)
    shown = "" if cell is None else f": {str(cell)!r}"
    assert "1 bad row of 3" in str(error.value)
    error.match(f"line {line}: {reason}")
    assert f", column 'item'{shown}\n" in str(error.value)
    assert run(tmp_path, cells, "--skip-bad-rows", kind=kind) == [("a", "i1"), ("a", "i2"), ("c", "i3")]


def test_negative_entries_are_taken_where_one_says_so(tmp_path: Path) -> None:
    assert run(tmp_path, [[-1, 2]], "--negative-ids") == [("a", "-1"), ("a", "2")]


def test_numbers_with_gaps_in_parquet(tmp_path: Path) -> None:
    cells = [[1.0, 2.0], [3.0, float("nan")]]
    with pytest.raises(DataError, match=r"line 2: an entry of the items is .*: '\[3.0, nan\]'"):
        run(tmp_path, cells, kind="parquet")
    assert run(tmp_path, cells, "--skip-bad-rows", kind="parquet") == [("a", "1"), ("a", "2")]


def test_a_cell_that_is_no_list_among_lists_is_a_bad_row(tmp_path: Path) -> None:
    cells = ["[i1]"] * 10 + ["['i2", "[i3, i4 i5]"]
    with pytest.raises(DataError) as error:
        run(tmp_path, cells)
    assert "2 bad rows of 12" in str(error.value)
    assert "line 12: the items are no list ([\"a\", \"b\"], ['a', 'b'] or [a b]), column 'item': \"['i2\"" in str(
        error.value
    )


def test_some_identifiers_in_brackets_are_identifiers(tmp_path: Path) -> None:
    assert run(tmp_path, ["[REC]", "Heat"]) == [("a", "[REC]"), ("b", "Heat")]
