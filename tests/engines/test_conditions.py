"""Filters: what they mean, that the embedded engine's index of attributes means the same, and what is refused."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparcode_es.engines.attributes import COLUMNS, Attributes
from sparcode_es.engines.conditions import (
    AnyOf,
    Between,
    Boost,
    Dsl,
    NoneOf,
    holds,
    numbers_of,
    parse_boosts,
    parse_filter,
    said,
    values_of,
    weight_of,
)
from sparcode_es.errors import ConfigError
from sparcode_es.tables import StringTable

VALUE = st.one_of(st.integers(-20, 20), st.floats(-20, 20), st.booleans(), st.text("1x.-e é", max_size=4), st.none())
ATTRIBUTES = st.dictionaries(st.sampled_from("abc"), st.one_of(VALUE, st.lists(VALUE, max_size=3)), max_size=3)
TEXTS = st.lists(VALUE.filter(lambda value: value is not None), min_size=1, max_size=3)
BOUND = st.one_of(st.floats(-20, 20), st.text("1x.-e é", max_size=3))


@st.composite
def conditions(draw: st.DrawFn) -> dict[str, Any]:
    wanted: dict[str, Any] = {}
    for name in draw(st.sets(st.sampled_from(["any", "all", "none", "bounds"]), min_size=1)):
        if name != "bounds":
            wanted[name] = draw(TEXTS)
            continue
        kind = draw(st.sampled_from([st.floats(-20, 20), st.text("1x.-e é", max_size=3)]))
        for bound in draw(st.sets(st.sampled_from(["gt", "gte", "lt", "lte"]), min_size=1)):
            wanted[bound] = draw(kind)
    return {draw(st.sampled_from(["a", "b", "c", "_item"])): wanted}


def table(documents: list[dict[str, Any]]) -> Any:
    return SimpleNamespace(
        num_items=len(documents),
        item_ids=StringTable.build(str(number) for number in range(len(documents))),
        item_doc=lambda number: {"attributes": documents[number]},
    )


@given(st.lists(ATTRIBUTES, min_size=1, max_size=8), st.lists(conditions(), max_size=2))
def test_the_index_of_attributes_tells_what_the_documents_tell(documents: list[Any], given_: list[Any]) -> None:
    parsed = parse_filter(given_)
    wanted = [all(holds(each, str(n), own) for each in parsed) for n, own in enumerate(documents)]
    attributes, items = Attributes(table(documents)), np.arange(len(documents))
    for _ in range(2):  # the first time from the documents of the items, then from the index
        assert attributes.has(items, parsed).tolist() == wanted


@given(st.lists(ATTRIBUTES, min_size=1, max_size=8), st.dictionaries(st.sampled_from(["a", "b", "_item"]), TEXTS))
def test_weights_too(documents: list[Any], given_: dict[str, list[Any]]) -> None:
    texts = {name: dict.fromkeys(values_of(values), 1.5) for name, values in given_.items()}
    boosts = parse_boosts({name: weights for name, weights in texts.items() if weights})
    wanted = [weight_of(boosts, str(n), own) for n, own in enumerate(documents)]
    attributes, items = Attributes(table(documents)), np.arange(len(documents))
    for _ in range(2):
        assert attributes.weights(items, boosts) == pytest.approx(wanted)


def read_by(documents: list[dict[str, Any]]) -> tuple[Attributes, list[int]]:
    """Attributes, and the numbers of the documents that they have read so far."""
    read: list[int] = []
    made = table(documents)
    item_doc = made.item_doc
    made.item_doc = lambda number: (read.append(number), item_doc(number))[1]
    return Attributes(made), read


def test_names_that_no_item_has_cost_one_pass_and_no_memory() -> None:
    attributes, read = read_by([{"a": "x", "none": None}, {"a": ["x", "y"]}, {"b": 1}])
    items = np.array([0, 1])
    for number in range(100):
        name = f"unknown {number}"
        assert attributes.has(items, parse_filter({name: "x"})).tolist() == [False, False]
        assert attributes.has(items, parse_filter({name: {"gte": 1}})).tolist() == [False, False]
        assert attributes.weights(items, parse_boosts({name: {"x": 2.0}})).tolist() == [1.0, 1.0]
    assert read == [0, 1, 0, 1, 2, 0, 1]  # the first filter's items, all documents, the first boost's items
    for _ in range(3):
        assert attributes.has(items, parse_filter({"a": {"all": ["x", "y"]}})).tolist() == [False, True]
        assert attributes.has(items, parse_filter({"none": {"none": "x"}})).tolist() == [True, True]
    assert len(read) == 7 + 2 * 3
    assert len(attributes._columns) == 2


def test_so_many_attributes_are_kept_and_no_more() -> None:
    names = [f"name {number}" for number in range(COLUMNS + 5)]
    attributes, read = read_by([dict.fromkeys(names, "x")])
    for name in [names[0], *names, *names[5:]]:
        assert attributes.has(np.array([0]), parse_filter({name: {"any": ["x", name]}})).tolist() == [True]
    assert len(attributes._columns) == COLUMNS
    assert len(read) == 1 + len(names)


def test_values_are_texts_as_a_keyword_field_holds_them() -> None:
    assert values_of([True, 1, 1.5, 1e20, "x", None]) == ["true", "1", "1.5", orjson.dumps(1e20).decode(), "x"]
    assert values_of("x" * 1025) == []
    assert values_of("😀" * 513) == []
    assert values_of("😀" * 512) != []
    assert numbers_of(["1999", "1d", "0x10", " 3", "-2.5e1", "1e999", "nan", ".5", "٣", 7]) == [1999.0, -25.0, 0.5, 7.0]


def test_a_whole_number_is_found_in_both_spellings_that_imports_store() -> None:
    """pandas writes a column with gaps as 1990.0 into a CSV; from Parquet it is stored as 1990."""
    documents: list[Any] = [{"year": "1990"}, {"year": "1990.0"}, {"year": ["1990", "1990.0"]}, {"year": "01990"}, {}]
    for asked in (1990, 1990.0, np.float64(1990), "1990", "1990.0"):
        alike, others = parse_filter({"year": asked}), parse_filter({"year": {"none": [asked]}})
        boosts = parse_boosts({"year": {asked: 2.0}})
        attributes, items = Attributes(table(documents)), np.arange(len(documents))
        for _ in range(2):  # from the documents of the items, then from the index
            assert attributes.has(items, alike).tolist() == [True, True, True, False, False]
            assert attributes.has(items, others).tolist() == [False, False, False, True, True]
            assert attributes.weights(items, boosts).tolist() == [2.0, 2.0, 2.0, 1.0, 1.0]
        assert [weight_of(boosts, "i", own) for own in documents] == [2.0, 2.0, 2.0, 1.0, 1.0]
        assert said(alike[0]) == f"year={values_of(asked)[0]}"
    assert AnyOf("year", ("1990.0", "-7", "1990", "0")).spellings == ("1990", "1990.0", "-7", "-7.0", "0", "0.0")
    for text in ("007", "1990.5", "1990.00", "-0", "+7", "1e3", "1990 ", "٣", "true"):
        assert AnyOf("year", (text,)).spellings == (text,)
    assert AnyOf("_item", ("1",)).spellings == ("1",)


def test_two_spellings_of_a_number_are_one_boost() -> None:
    given = {"year": {1990: 2.0, "1990.0": 3.0, "x": 2.0}, "_item": {"1": 2.0, "1.0": 3.0}}
    assert parse_boosts(given) == (
        Boost("year", "1990.0", 3.0),
        Boost("year", "x", 2.0),
        Boost("_item", "1", 2.0),
        Boost("_item", "1.0", 3.0),
    )


def test_forms() -> None:
    assert parse_filter(None) == ()
    assert parse_filter({"year": 1990}) == (AnyOf("year", ("1990",)),)
    assert parse_filter({"a": {"all": ["x", "y"], "none": "z"}}) == (
        AnyOf("a", ("x",)),
        AnyOf("a", ("y",)),
        NoneOf("a", ("z",)),
    )
    own = Dsl({"match_all": {}})
    assert parse_filter([own, {"a": {"gt": 1}}]) == (own, Between("a", gt=1.0))
    assert parse_boosts({"a": {True: 2}}) == (Boost("a", "true", 2.0),)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("genre=x", "mapping"),
        (7, "mapping"),
        ({"": "x"}, "names attributes"),
        ({"a": {}}, "knows gt"),
        ({"a": {"gte": 1, "lt": "2"}}, "all numbers or all texts"),
        ({"a": {"gte": float("nan")}}, "finite"),
        ({"a": {"gte": True}}, "a number or a text"),
        ({"a": {"gte": [1]}}, "a number or a text"),
        ({"a": {"any": []}}, "no value"),
        ({"a": None}, "no value"),
    ],
)
def test_what_is_no_filter(wrong: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_filter(wrong)


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf")])
def test_weights_that_no_engine_takes(weight: float) -> None:
    with pytest.raises(ConfigError, match="above 0 and below a million"):
        parse_boosts({"a": {"x": weight}})
    with pytest.raises(ConfigError, match="mapping"):
        parse_boosts({"a": 2.0})  # type: ignore[dict-item]


def test_only_elasticsearch_knows_its_dsl(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="ask Elasticsearch"):
        Attributes(table([{}])).has(np.array([0]), (Dsl({"match_all": {}}),))
    with pytest.raises(ConfigError, match="only Elasticsearch"):
        holds(Dsl({}), "1", {})
    assert Attributes(table([{}])).has(np.array([0]), ()).tolist() == [True]
