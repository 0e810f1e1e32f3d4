"""Side tables: how their cells become attributes, and that filters find them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sparcode_es.data.features import FeatureTable, standardised
from sparcode_es.data.side import DeclaredFeature, as_list, declared_tables, item_texts, read_side
from sparcode_es.data.write import ItemText
from sparcode_es.engines.conditions import holds, parse_boosts, parse_filter, weight_of
from sparcode_es.errors import DataError

RECORDS: list[dict[str, Any]] = [
    {"item": "007", "title": "Ä", "year": 1990},
    {"item": 8, "year": None, "tags": ["x", "y"]},
]
SALES = {"a": [True, [True, False]], "b": [False, [False]], "c": [None, []]}


@pytest.mark.parametrize("name", ["items.json", "items.jsonl", "items.ndjson.gz"])
def test_json_of_records(tmp_path: Path, name: str) -> None:
    """As `to_json(orient="records")` writes it, with and without `lines=True`."""
    text = json.dumps(RECORDS) if name == "items.json" else "".join(f"{json.dumps(row)}\n" for row in RECORDS)
    (tmp_path / name).write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    texts = item_texts(read_side(tmp_path / name), "title", ["year", "tags"], [], "|")
    assert texts == {"007": ItemText("Ä", {"year": "1990"}), "8": ItemText(None, {"tags": ["x", "y"]})}


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("items.json", "[]", "one object a row"),
        ("items.json", "[{}]", "one object a row"),
        ("items.json", '[{"item": "a"}, 7]', "one object a row"),
        ("items.jsonl", '{"item": "a"}\n["b"]\n', "one object a row"),
        ("items.jsonl", "", "one object a row"),
        ("items.jsonl", '{"item": "a"}\n{"item": ', "cannot read the table"),
        ("items.jsonl", '{"item": "a"}\n{"title": "b"}\n', "without an identifier"),
        ("items.jsonl", '{"item": "a"}\n{"item": "a"}\n', "twice"),
        ("items.json", "7", "must hold a JSON list"),
    ],
)
def test_json_that_is_no_table(tmp_path: Path, name: str, text: str, words: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=words):
        read_side(tmp_path / name)


@pytest.fixture(params=["parquet", "json"])
def table(request: pytest.FixtureRequest, tmp_path: Path) -> pd.DataFrame:
    """Items with a column of booleans, one missing, and a column of lists of them."""
    path = tmp_path / f"items.{request.param}"
    if request.param == "json":
        path.write_text(json.dumps({item: {"sale": sale, "seen": seen} for item, (sale, seen) in SALES.items()}))
    else:
        columns = {"item": list(SALES), "sale": [s for s, _ in SALES.values()], "seen": [s for _, s in SALES.values()]}
        pd.DataFrame(columns).to_parquet(path)
    return read_side(path)


def test_booleans_are_what_filters_and_boosts_look_for(table: pd.DataFrame) -> None:
    found = {item: text.attributes for item, text in item_texts(table, None, ["sale", "seen"], [], "|").items()}
    assert found == {
        "a": {"sale": "true", "seen": ["true", "false"]},
        "b": {"sale": "false", "seen": ["false"]},
        "c": {"seen": []},
    }
    for wanted, items in ((True, "a"), (False, "b"), ("true", "a")):
        (condition,) = parse_filter({"sale": wanted})
        assert "".join(item for item in found if holds(condition, item, found[item])) == items
    assert weight_of(parse_boosts({"sale": {True: 2.0}}), "a", found["a"]) == 2.0


def test_booleans_are_categories_of_the_same_spelling(table: pd.DataFrame) -> None:
    specs = [DeclaredFeature("item", "sale", "categorical"), DeclaredFeature("item", "seen", "list")]
    assert declared_tables(specs, "item", table, "|") == [
        FeatureTable("item", "sale", "categorical", {"a": "true", "b": "false"}),
        FeatureTable("item", "seen", "list", {"a": ["true", "false"], "b": ["false"], "c": []}),
    ]


@pytest.mark.parametrize(
    ("text", "entries"),
    [
        ("['Sci Fi', 'War']", ["Sci Fi", "War"]),
        ('["Sci Fi", null, 3]', ["Sci Fi", None, 3]),
        ("[Drama War]", ["Drama", "War"]),
        ("[0.5 -1.]", ["0.5", "-1."]),
        ("[]", []),
        ("Drama|War", ["Drama", "War"]),
    ],
)
def test_lists_that_are_texts(text: str, entries: list[str]) -> None:
    assert as_list(text, "|") == entries


def test_brackets_that_hold_no_list_are_a_sentence() -> None:
    with pytest.raises(DataError, match="'\\[Sci Fi, War\\]' cannot be read as a list; write it as"):
        as_list("[Sci Fi, War]", "|")


def test_numbers_are_standardised_by_the_rows_that_count() -> None:
    values = np.array([1.0, 3.0, np.nan, 7.0])
    scaled, mean, deviation = standardised("item:price", values, np.array([True, True, True, False]))
    assert (mean, deviation) == (2.0, 1.0)
    assert scaled.tolist() == [-1.0, 1.0, 0.0, 5.0]


@pytest.mark.parametrize(
    ("values", "words"),
    [((1.0, np.inf, 2.0), "infinite"), ((1e308, 1e308, -1e308), "too large"), ((0.0, 1.0, 1e300), "too large")],
)
def test_numbers_that_cannot_be_standardised(values: tuple[float, ...], words: str) -> None:
    with pytest.raises(DataError, match=f"the numerical feature item:price holds .*{words}"):
        standardised("item:price", np.array(values), np.array([True, True, False]))
