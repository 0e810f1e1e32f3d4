"""What each panel of the dashboard asks and shows: its query on real servers beside the artifact, and its picture."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from engines.shelf import ITEMS, make_shelf
from kibana.drawn import ALIAS, CHOSEN, EVERYTHING, GENERATIONS, LOG_PANELS, OBJECTS, Shown, found, keep, picture
from sparcode_es.engines.elasticsearch.connection import ConnectionConfig, Server
from sparcode_es.engines.elasticsearch.generations import delete
from sparcode_es.engines.elasticsearch.index import IndexOptions, index
from sparcode_es.engines.elasticsearch.layout import live_generation
from sparcode_es.kibana.objects import object_id
from sparcode_es.postings.artifact import Artifact
from sparcode_es.postings.places import places
from sparcode_es.postings.profile import CodeProfile, Profiler

pytestmark = [pytest.mark.slow, pytest.mark.elasticsearch]
VEGA = {"top-traffic", "top-items", "code-usage", "users-items", "score-quantiles", "postings-histogram", "code-map"}
LEARNED = {"bool": {"must": [], "filter": [{"term": {"kind": "learned"}}], "should": [], "must_not": []}}
QUERIES = {
    "": {"match_all": {}},
    "users: 0 or items: 0": {
        "bool": {"should": [{"match": {"users": 0}}, {"match": {"items": 0}}], "minimum_should_match": 1}
    },
}
"""KQL → what Kibana makes of it."""


@dataclass(frozen=True)
class World(Shown):
    """A loaded index beside its artifact."""

    artifact: Artifact
    profiles: list[CodeProfile]

    @property
    def postings(self) -> dict[str, int]:
        """Postings an item."""
        return {self.artifact.item_ids[item]: len(rows) for item, rows, _ in self.artifact.by_item()}


@pytest.fixture(scope="module", params=["elasticsearch_7", "elasticsearch_9"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    server = Server(ConnectionConfig(url=request.getfixturevalue(request.param).url))
    artifact = make_shelf(tmp_path_factory.mktemp("panels") / "postings")
    index(server, artifact, IndexOptions(ALIAS), lambda what, more, total: None)
    yield World(server, artifact, list(Profiler(artifact).profiles()))
    delete(server, ALIAS, live_generation(server, ALIAS) or "")
    server.close()


def sources(answer: Any) -> list[dict[str, Any]]:
    return [hit["_source"] for hit in answer["hits"]["hits"]]


def shown(profiles: list[CodeProfile], *fields: str) -> list[dict[str, Any]]:
    return [{key: value for key, value in each.as_dict().items() if key in fields} for each in profiles]


def busiest(profiles: list[CodeProfile]) -> list[CodeProfile]:
    return sorted(profiles, key=lambda each: (-each.traffic, -each.users, each.code))


def test_every_vega_panel_is_asked_here() -> None:
    kinds = {
        each["id"]: json.loads(each["attributes"]["visState"])["type"]
        for each in OBJECTS.values()
        if each["type"] == "visualization"
    }
    asked = VEGA | LOG_PANELS | GENERATIONS | CHOSEN
    assert {key for key, kind in kinds.items() if kind == "vega"} == {
        object_id(ALIAS, "visualization", each) for each in asked
    }


def test_top_codes_by_traffic(world: World) -> None:
    fields = ("code", "kind", "name", "users", "items", "traffic")
    assert sources(world.panel("top-traffic")) == shown(busiest(world.profiles)[:20], *fields)
    learned = [each for each in busiest(world.profiles) if each.kind == "learned"]
    assert sources(world.panel("top-traffic", LEARNED)) == shown(learned[:20], *fields)


def test_longest_posting_lists(world: World) -> None:
    longest = sorted(world.profiles, key=lambda each: (-each.items, each.code))[:20]
    assert sources(world.panel("top-items")) == shown(longest, "code", "kind", "name", "users", "items")
    assert longest[0].items == max(world.artifact.postings(row)[0].size for row in range(world.artifact.num_codes))


def test_code_usage(world: World) -> None:
    traffic = [each["traffic"] for each in sources(world.panel("code-usage"))]
    assert traffic == sorted((each.traffic for each in world.profiles), reverse=True)
    assert sum(traffic) == pytest.approx(1)


def test_users_against_items(world: World) -> None:
    answer = world.panel("users-items")
    assert answer["hits"]["total"]["value"] == world.artifact.num_codes
    fields = ("code", "kind", "name", "users", "items", "traffic")
    by_code = sorted(sources(answer), key=lambda each: str(each["code"]))
    assert by_code == shown(sorted(world.profiles, key=lambda each: each.code), *fields)


def test_code_map(world: World) -> None:
    profiler = Profiler(world.artifact)
    expected = {world.artifact.term(row): place for row, place in places(profiler).items()}
    shown = sources(world.panel("code-map"))
    on_map = [row for row in shown if "x" in row]
    assert {row["code"]: (row["x"], row["y"]) for row in on_map} == expected
    assert [row["x"] for row in on_map] == sorted(row["x"] for row in on_map)
    assert shown[: len(on_map)] == on_map, "codes without a place come last"
    best = {each.code: [item.item for item in each.top_items] for each in world.profiles}
    assert all([item["item"] for item in row["top_items"]] == best[row["code"]] for row in on_map)


def test_scores_a_code(world: World) -> None:
    rows = sources(world.panel("score-quantiles"))
    assert rows == shown(busiest(world.profiles)[:50], "code", "name", "scores")
    assert any("scores" not in each for each in rows)
    ways = [[each["scores"][key] for key in ("min", "p10", "p50", "p90", "max")] for each in rows if "scores" in each]
    assert all(each == sorted(each) and each[0] > 0 for each in ways)


def test_postings_a_document(world: World) -> None:
    aggregation = world.panel("postings-histogram")["aggregations"]["postings"]
    assert {each["key"]: each["doc_count"] for each in aggregation["buckets"]} == Counter(world.postings.values())
    assert aggregation["sum_other_doc_count"] == 0
    assert [each["key"] for each in aggregation["buckets"]] == sorted(set(world.postings.values()))


@pytest.mark.parametrize("name", ["items-in-numbers", "codes-in-numbers"])
def test_numbers(world: World, name: str) -> None:
    each = found("visualization", name)
    state = json.loads(each["attributes"]["visState"])
    assert state["type"] == "metric"
    counted, *others = state["aggs"]
    assert counted["type"] == "count"
    aggs = {one["params"]["customLabel"]: {one["type"]: {"field": one["params"]["field"]}} for one in others}
    answer = world.ask(world.view(each), {"size": 0, "query": EVERYTHING, "aggs": aggs})
    values = {label: value["value"] for label, value in answer["aggregations"].items()}
    values[counted["params"]["customLabel"]] = answer["hits"]["total"]["value"]
    postings, users = world.artifact.num_postings, sum(each.users for each in world.profiles)
    expected: dict[str, dict[str, float]] = {
        "items-in-numbers": {"items": ITEMS, "postings an item": postings / ITEMS, "fewest": 0},
        "codes-in-numbers": {
            "codes": world.artifact.num_codes,
            "postings": postings,
            "users a code": users / world.artifact.num_codes,
        },
    }
    assert values == pytest.approx(expected[name])


def rows_of(world: World, name: str) -> list[dict[str, Any]]:
    """What Discover asks for a saved search: its columns as fields, its query, its sort, at most 500 rows."""
    search = found("search", name)
    attributes = search["attributes"]
    source = json.loads(attributes["kibanaSavedObjectMeta"]["searchSourceJSON"])
    body = {
        "size": 500,
        "_source": False,
        "fields": attributes["columns"],
        "query": QUERIES[source["query"]["query"]],
        "sort": [{column: {"order": way, "unmapped_type": "boolean"}} for column, way in attributes["sort"]],
    }
    hits = world.ask(world.view(search), body)["hits"]["hits"]
    return [{column: values[0] for column, values in hit["fields"].items()} for hit in hits]


def test_the_searches_for_items(world: World) -> None:
    titles = {name: world.artifact.item_doc(row).get("title") for row, name in enumerate(world.artifact.item_ids)}
    rows = [
        {"item": item, "postings": count, **({"title": titles[item]} if titles[item] is not None else {})}
        for item, count in world.postings.items()
    ]
    few = sorted(rows, key=lambda each: (each["postings"], each["item"].encode()))
    assert rows_of(world, "few-postings") == few
    assert [each["postings"] for each in few[:11]] == [0] * 10 + [few[10]["postings"]]
    assert rows_of(world, "items") == sorted(rows, key=lambda each: (-each["postings"], each["item"].encode()))


def test_the_searches_for_codes(world: World) -> None:
    every = sorted(world.profiles, key=lambda each: (-each.traffic, each.code))
    assert rows_of(world, "codes") == shown(every, "code", "name", "kind", "items", "users", "traffic")
    dead = [each for each in world.profiles if not each.users or not each.items]
    dead.sort(key=lambda each: (-each.items, each.code))
    assert {"17", "18", "19"} <= {each.code for each in dead}
    assert rows_of(world, "dead-codes") == shown(dead, "code", "name", "kind", "items", "users")


@pytest.mark.parametrize("name", sorted(VEGA))
def test_pictures(world: World, name: str) -> None:
    answer = world.panel(name)
    png = picture(name, answer)
    assert png.startswith(b"\x89PNG")
    assert len(png) > 5_000
    nothing = {"hits": {"hits": []}, "aggregations": {"postings": {"buckets": []}}}
    assert len(png) > len(picture(name, nothing)), "the answer is not in the picture"
    keep(name, png)
