"""Index bodies and queries as Elasticsearch gets them; no server."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from sparcode_es.engines.base import Clause, Query
from sparcode_es.engines.conditions import parse_boosts, parse_filter
from sparcode_es.engines.elasticsearch.request import (
    MOST_TERMS,
    WINDOW,
    first_size,
    query_body,
    routing,
    search_body,
    shown_body,
)
from sparcode_es.engines.elasticsearch.templates import codes_body, items_body, users_body
from sparcode_es.errors import EngineError
from sparcode_es.postings.profile import CodeProfile, Neighbour, TopItem
from sparcode_es.postings.survey import QUANTILES

QUERY = Query((Clause("1", 1.0),), k=2)


def prune(body: dict[str, Any]) -> bool:
    return "index_options" in body["mappings"]["properties"]["codes"]


def excludes_vectors(body: dict[str, Any]) -> bool:
    return "exclude_source_vectors" in body["settings"]["index"]["mapping"]


@pytest.mark.parametrize(
    ("version", "pruning", "excluding"),
    [
        ((8, 11, 0), False, False),
        ((8, 19, 0), True, False),
        ((9, 0, 4), False, False),
        ((9, 1, 0), True, False),
        ((9, 2, 0), True, True),
        ((10, 0, 0), True, True),
    ],
)
def test_templates_fit_the_version(version: tuple[int, ...], pruning: bool, excluding: bool) -> None:
    body = items_body("sparse_vector", version, meta={"model_hash": "m"})
    assert (prune(body), excludes_vectors(body)) == (pruning, excluding)
    assert body["mappings"]["_source"] == {"excludes": ["codes", "numbers"]}
    assert body["mappings"]["_meta"] == {"model_hash": "m"}
    assert "_source" not in items_body("sparse_vector", version, store_codes=True)["mappings"]
    assert users_body()["mappings"]["properties"]["codes"] == {"type": "object", "enabled": False}


def test_the_codes_index_maps_what_a_profile_has_and_its_place() -> None:
    mapped = codes_body({"state": "loading"})["mappings"]
    assert mapped["properties"].keys() == {field.name for field in fields(CodeProfile)} | {"x", "y"}
    assert mapped["properties"]["top_items"]["properties"].keys() == {field.name for field in fields(TopItem)}
    assert mapped["properties"]["neighbours"]["properties"].keys() == {field.name for field in fields(Neighbour)}
    assert mapped["properties"]["scores"]["properties"].keys() == QUANTILES.keys()
    assert mapped["dynamic"] == "strict"
    assert mapped["_meta"] == {"state": "loading"}


def items(count: int) -> frozenset[str]:
    return frozenset(f"item {i}" for i in range(count))


@pytest.mark.parametrize(
    ("count", "k", "dropped"), [(0, 10, True), (100, 10, True), (100, 9_950, False), (9_000, 10, False)]
)
def test_exclusions_are_dropped_here_or_there(count: int, k: int, dropped: bool) -> None:
    query = Query(QUERY.clauses, k, items(count))
    assert ("must_not" in query_body(query, "rank_features")["bool"]) is not dropped
    assert k + (count if dropped else 0) <= first_size(query) <= WINDOW


@pytest.mark.parametrize(("count", "sizes"), [(MOST_TERMS, [MOST_TERMS]), (MOST_TERMS + 2, [MOST_TERMS, 2])])
def test_no_clause_holds_more_values_than_a_server_takes(count: int, sizes: list[int]) -> None:
    """A user may have seen more, and a filter may name more."""
    excluded = query_body(Query(QUERY.clauses, 10, items(count)), "rank_features")["bool"]["must_not"]
    assert [len(each["terms"]["item"]) for each in excluded] == sizes
    assert {item for each in excluded for item in each["terms"]["item"]} == items(count)
    (kept,) = query_body(
        Query(QUERY.clauses, 10, filter=parse_filter({"item": sorted(items(count))})), "rank_features"
    )["bool"]["filter"]
    parts = [kept] if len(sizes) == 1 else kept["bool"].pop("should")
    assert [len(each["terms"]["attributes.item"]) for each in parts] == sizes


def test_a_request_that_is_shown_says_what_is_excluded() -> None:
    """Dropping items is the client's work; a person who pastes the request has no client."""
    body = shown_body(Query(QUERY.clauses, 7, items(3)), "sparse_vector")
    assert body["query"]["bool"]["must_not"] == [{"terms": {"item": ["item 0", "item 1", "item 2"]}}]
    assert body["size"] == 7
    assert "must_not" not in shown_body(QUERY, "sparse_vector")["query"]["bool"]


def test_more_than_a_window() -> None:
    with pytest.raises(EngineError, match="at most 10000"):
        first_size(Query(QUERY.clauses, WINDOW + 1))


def test_clauses_of_both_fields() -> None:
    query = Query((Clause("1_2", 0.5), Clause("h1_3", 2.0), Clause("1_2", 0.25)), filter=parse_filter({"genre": "x"}))
    features = query_body(query, "rank_features")["bool"]
    assert features["should"][0] == {"rank_feature": {"field": "codes.1_2", "linear": {}, "boost": 0.75}}
    assert features["filter"] == [{"term": {"attributes.genre": "x"}}]
    vector = query_body(query, "sparse_vector")["bool"]
    assert vector["should"][1] == {"term": {"codes": {"value": "h1_3", "boost": 2.0}}}


def test_a_whole_number_is_looked_for_in_both_spellings() -> None:
    either, plain = {"terms": {"attributes.year": ["1990", "1990.0"]}}, {"term": {"attributes.year": "x"}}
    filters = parse_filter([{"year": 1990}, {"year": {"none": ["1990.0"]}}, {"year": "x"}])
    query = Query(QUERY.clauses, filter=filters, boosts=parse_boosts({"year": {1990.0: 2.0, "x": 3.0}}))
    scored = query_body(query, "rank_features")["function_score"]
    assert scored["functions"] == [{"filter": either, "weight": 2.0}, {"filter": plain, "weight": 3.0}]
    assert scored["query"]["bool"]["filter"] == [either, {"bool": {"must_not": [either]}}, plain]


def test_only_the_item_is_fetched() -> None:
    body = search_body(QUERY, "rank_features")
    assert (body["_source"], body["stored_fields"], body["docvalue_fields"]) == (False, "_none_", ["item"])
    assert body["track_total_hits"] is False
    assert "sort" not in body
    assert search_body(QUERY, "rank_features", ordered=True)["sort"] == [{"_score": "desc"}, {"item": "asc"}]


def test_the_same_codes_are_answered_by_the_same_copies() -> None:
    other = Query((Clause("2", 1.0),))
    assert routing(QUERY) == routing(Query(QUERY.clauses, 50)) != routing(other)
    assert routing(QUERY, anywhere=True) == {"allow_partial_search_results": False}
    assert routing(QUERY)["allow_partial_search_results"] is False
