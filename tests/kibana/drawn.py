"""What Kibana makes of the objects of `ALIAS`: a panel's request, and its picture. Not a test module."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import vl_convert

from sparcode_es.engines.elasticsearch.connection import Server
from sparcode_es.engines.elasticsearch.layout import path_of
from sparcode_es.kibana.objects import SavedObject, object_id, saved_objects

ALIAS = "odd_na.me-1"
LOG_PANELS = {"queries-latency", "queries-empty", "queries-sources", "queries-why"}
"""Of the query log: in test_query_panels.py."""
GENERATIONS = {"generations"}
"""Of the list of generations: in test_generation_panels.py."""
EVERYTHING = {"bool": {"must": [], "filter": [], "should": [], "must_not": []}}
"""What Kibana puts in for `%context%` while the dashboard has no filter."""
CHOSEN = {"why"}
"""Of a user and an item: in test_why_panel.py."""
OBJECTS = {each["id"]: each for each in saved_objects(ALIAS, "9")}


def found(kind: str, name: str) -> SavedObject:
    return OBJECTS[object_id(ALIAS, kind, name)]


def spec_of(name: str) -> dict[str, Any]:
    """A Vega panel's specification, out of the text in the saved object."""
    state = json.loads(found("visualization", name)["attributes"]["visState"])
    assert state["type"] == "vega"
    spec: dict[str, Any] = json.loads(state["params"]["spec"])
    return spec


def urls_of(spec: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Name → what each data source of a Vega or Vega-Lite specification asks."""
    data = spec["data"] if isinstance(spec["data"], list) else [{"name": "", **spec["data"]}]
    return {each["name"]: each["url"] for each in data if "url" in each}


def filled(query: Any, context: dict[str, Any]) -> Any:
    """A query with the dashboard's filters where it says so (`_injectContextVars`)."""
    if isinstance(query, dict):
        return {key: filled(value, context) for key, value in query.items()}
    if not isinstance(query, list):
        return query
    clauses = {f"%dashboard_context-{kind}_clause%": context["bool"][kind] for kind in ("must", "filter", "must_not")}
    return [one for each in query for one in (clauses[each] if isinstance(each, str) else [filled(each, context)])]


@dataclass(frozen=True)
class Span:
    """A dashboard's time range, and the interval of buckets that Kibana takes for it."""

    begin: str
    end: str
    interval: dict[str, str]


@dataclass(frozen=True)
class Shown:
    """A server that the objects of `ALIAS` ask."""

    server: Server

    def panel(self, name: str, context: dict[str, Any] = EVERYTHING, span: Span | None = None) -> Any:
        """The answer to a Vega panel's query, with the dashboard's filters and times as Kibana adds them."""
        url = spec_of(name)["data"]["url"]
        assert url["%context%"] is True
        assert "query" not in url["body"]
        query, aggs = context, url["body"].get("aggs")
        if "%timefield%" in url:
            assert span is not None
            times = {"gte": span.begin, "lte": span.end, "format": "strict_date_optional_time"}
            within = {"range": {url["%timefield%"]: times}}
            query = {"bool": {**context["bool"], "must": [*context["bool"]["must"], within]}}
            aggs = in_intervals(aggs, span.interval)
        return self.ask(url["index"], {**url["body"], "query": query, **({"aggs": aggs} if aggs else {})})

    def sources(self, name: str, context: dict[str, Any] = EVERYTHING) -> dict[str, Any]:
        """The answers to each data source of a panel that puts the filters where it wants them."""
        asked = {}
        for source, url in urls_of(spec_of(name)).items():
            assert "%context%" not in url, "Kibana refuses a query of one's own beside it"
            asked[source] = self.ask(url["index"], {**url["body"], "query": filled(url["body"]["query"], context)})
        return asked

    def ask(self, name: str, body: dict[str, Any]) -> Any:
        return self.server.call("POST", path_of(name, "_search"), {"track_total_hits": True, **body})

    def view(self, each: SavedObject) -> str:
        """The index that the data view of a search or a visualization stands for."""
        (reference,) = each["references"]
        return str(OBJECTS[reference["id"]]["attributes"]["title"])


def in_intervals(value: Any, interval: dict[str, str]) -> Any:
    """Aggregations with `%autointerval%` replaced."""
    if not isinstance(value, dict):
        return value
    found = {key: in_intervals(each, interval) for key, each in value.items() if key != "interval"}
    if "interval" in value:
        assert value["interval"] == {"%autointerval%": True}
        found |= interval
    return found


def picture(name: str, answer: Any) -> bytes:
    """A panel drawn as Kibana draws it: the answer in the place of the URL, the panel's size."""
    spec = spec_of(name)
    spec["data"] = {"values": answer, "format": spec["data"]["format"]}
    spec |= {"width": 560, "height": 320, "autosize": {"type": "fit", "contains": "padding"}, "background": "white"}
    return bytes(vl_convert.vegalite_to_png(spec, vl_version="5.8"))


def answered(name: str, answers: dict[str, Any], width: int = 900, height: int = 460) -> dict[str, Any]:
    """A Vega panel's specification with its answers, in the size of a dashboard's whole width."""
    spec = spec_of(name) | {"width": width, "height": height, "background": "white"}
    for source in spec["data"]:
        if source["name"] in answers:
            del source["url"]
            source["values"] = answers[source["name"]]
    return spec


def keep(name: str, png: bytes) -> None:
    """`SPARCODE_PICTURES=FOLDER` keeps pictures for people."""
    if "SPARCODE_PICTURES" in os.environ:
        Path(os.environ["SPARCODE_PICTURES"], f"{name}.png").write_bytes(png)
