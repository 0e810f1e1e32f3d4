"""What the source of Elasticsearch asks for, request by request; no server."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from sparcode_es.engines.base import Clause, Hit, Query
from sparcode_es.engines.elasticsearch import source as source_module
from sparcode_es.engines.elasticsearch.request import SPARE
from sparcode_es.engines.elasticsearch.source import FRESH_SECONDS, ElasticsearchSource
from sparcode_es.engines.plans import Call, Operation, run

OLD, NEW = "recs-20260101000000-0123456789ab", "recs-20260102000000-0123456789ab"
QUERY = Query((Clause("7", 1.0),), k=2)


class Index:
    """An alias that stands for one of two generations, of one field type each, and the hits of its searches in turn."""

    types: ClassVar = {OLD: "rank_features", NEW: "sparse_vector"}

    def __init__(self, *answers: list[tuple[str, float]]) -> None:
        self.live, self.calls = OLD, []
        self.answers = list(answers)

    def __call__(self, call: Operation) -> Any:
        assert isinstance(call, Call)
        self.calls.append(call)
        name = call.path.split("/")[1]
        if call.path.endswith("_mapping"):
            name = self.live if name == "recs" else name
            hashes = {"model_hash": "m", "codebook_hash": "c", "artifact": "a"}
            meta = {"schema_version": 1, **hashes, "field_type": self.types[name]}
            kind = {"codes": {"type": self.types[name]}}
            return {name: {"mappings": {"_meta": {**meta, "counts": {}}, "properties": kind}}}
        rows = self.answers.pop(0) if self.answers else []
        return {"hits": {"hits": [{"_score": score, "fields": {"item": [item]}} for item, score in rows]}}

    def asked(self) -> list[str]:
        return [call.path for call in self.calls]


def clauses(call: Operation) -> set[str]:
    """The kinds of the clauses of a search."""
    assert isinstance(call, Call)
    return {kind for each in call.body["query"]["bool"]["should"] for kind in each}


class Clock:
    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(source_module, "time", made)
    return made


def test_the_field_type_of_the_alias_is_not_believed_for_ever(clock: Clock) -> None:
    index, source = Index(), ElasticsearchSource("here", "recs")
    run(source.search_many([QUERY]), index)
    index.live = NEW
    clock.now = FRESH_SECONDS
    run(source.search_many([QUERY]), index)
    assert index.asked() == ["/recs/_mapping", "/recs/_search", "/recs/_search"], "believed for moments"
    clock.now += 1.0
    run(source.search_many([QUERY]), index)
    assert index.asked()[3:] == ["/recs/_mapping", "/recs/_search"]
    assert [clauses(call) for call in index.calls if call.path.endswith("_search")] == [
        {"rank_feature"},
        {"rank_feature"},
        {"term"},
    ]


def test_a_generation_that_was_asked_by_name_is_not_what_the_alias_stands_for(clock: Clock) -> None:
    index, source = Index(), ElasticsearchSource("here", "recs")
    index.live = NEW
    run(source.search_many([QUERY]), index)
    run(source.info(OLD), index)
    run(source.search_many([QUERY]), index)
    assert clauses(index.calls[-1]) == {"term"}


def test_one_generation_alone_is_asked_for_its_metadata_once(clock: Clock) -> None:
    index, source = Index(), ElasticsearchSource("here", "recs", OLD.removeprefix("recs-"))
    for clock.now in (0.0, 9 * FRESH_SECONDS):
        run(source.search_many([QUERY]), index)
    assert index.asked() == [f"/{OLD}/_mapping", f"/{OLD}/_search", f"/{OLD}/_search"]


FULL = QUERY.k + SPARE
"""Rows that the first search of `QUERY` fetches."""


def rows(*scores: float) -> list[tuple[str, float]]:
    return [(f"item {chr(122 - place)}", score) for place, score in enumerate(scores)]


@pytest.mark.parametrize(
    ("scores", "again"),
    [
        ([1.0] * FULL, True),
        ([2.0] + [1.0] * (FULL - 1), True),
        ([3.0, 2.0] + [1.0] * (FULL - 2), False),
        ([2.0] * (FULL - 1) + [1.0], False),
        ([1.0] * (FULL - 1), False),
    ],
    ids=["all tie", "the cut is in the tie", "the tie is behind the cut", "the tie is whole", "there are no more"],
)
def test_a_cut_within_a_tie_is_asked_again_in_order(scores: list[float], again: bool) -> None:
    ordered = [("item a", 9.0), ("item b", 8.0)]
    index, source = Index(rows(*scores), ordered), ElasticsearchSource("here", "recs")
    ((found),) = run(source.search_many([QUERY]), index)
    searches = [call for call in index.calls if call.path.endswith("_search")]
    assert ["sort" in call.body for call in searches] == [False, True][: 1 + again]
    best = sorted(rows(*scores), key=lambda row: (-row[1], row[0]))
    assert found == [Hit(*row) for row in (ordered if again else best[: QUERY.k])]


def test_exclusions_that_leave_too_few_of_a_tie_are_asked_again() -> None:
    query = Query(QUERY.clauses, QUERY.k, frozenset({"item z"}))
    scores = rows(5.0, 4.0, *[1.0] * (FULL - 1))
    index, source = Index(scores, [("item b", 1.0), ("item a", 2.0)]), ElasticsearchSource("here", "recs")
    run(source.search_many([query]), index)
    assert ["sort" in call.body for call in index.calls[1:]] == [False, True]
