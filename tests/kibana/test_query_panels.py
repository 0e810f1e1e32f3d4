"""What the dashboard of the query log asks and shows, on real servers: a data stream on 9.4.5, an alias on 7.17.29."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest

from kibana.drawn import ALIAS, LOG_PANELS, Shown, Span, found, keep, picture
from sparcode_es.engines.elasticsearch import query_log
from sparcode_es.engines.elasticsearch.connection import ConnectionConfig, Server
from sparcode_es.engines.elasticsearch.layout import path_of
from sparcode_es.kibana.objects import DATA_VIEW, object_id

pytestmark = [pytest.mark.slow, pytest.mark.elasticsearch]
BEGIN = datetime(2026, 1, 1, tzinfo=timezone.utc)
HOURS, OUTSIDE = 12, 3
"""Hours of questions that the dashboard shows; hours after them."""
SPAN = Span("2026-01-01T00:00:00.000Z", "2026-01-01T11:59:59.999Z", {"fixed_interval": "10m"})
"""43,200 s ÷ 50 = 864 s, for which `_roundInterval` says 10m."""
USER_3 = {"bool": {"must": [], "filter": [{"term": {"user": "user 3"}}], "should": [], "must_not": []}}


def questions() -> list[dict[str, Any]]:
    """A question every 90 seconds; some of unknown users, some that fail."""
    rng = np.random.default_rng(5)
    rows = []
    for number in range((HOURS + OUTSIDE) * 40):
        source = ["codes", "codes", "codes", "codes", "codes", "popular", "codes", "error"][int(rng.integers(8))]
        source = "popular" if number % 9 == 0 else "error" if number % 31 == 0 else source
        whole = float(np.round(rng.lognormal(1.5, 0.8), 3))
        row = {
            "@timestamp": (BEGIN + timedelta(seconds=90 * number)).isoformat(timespec="milliseconds"),
            "engine": "elasticsearch",
            "index": ALIAS,
            "asked": "user",
            "user": f"user {number % 7}",
            "k": 10,
            "page": 0,
            "batch": 1,
            "filtered": False,
            "codes": 6,
            "whole_ms": whole,
            "engine_ms": round(whole / 2, 3),
            "hits": 0 if source == "error" or number % 50 == 7 else 10,
            "source": source,
            "fallback": source == "popular",
        }
        row["empty"] = row["hits"] == 0
        if source in ("popular", "error"):
            row["why"] = "UnknownUserError" if source == "popular" else "EngineUnavailableError"
        rows.append(row)
    return rows


ROWS = questions()
WITHIN = [row for row in ROWS if row["@timestamp"] < "2026-01-01T12"]


@dataclass(frozen=True)
class Asked(Shown):
    def buckets(self, name: str, aggregation: str = "time", **how: Any) -> list[dict[str, Any]]:
        answer = self.panel(name, span=SPAN, **how)
        return list(answer["aggregations"][aggregation]["buckets"])


@pytest.fixture(scope="module", params=["elasticsearch_7", "elasticsearch_9"])
def asked(request: pytest.FixtureRequest) -> Iterator[Asked]:
    server = Server(ConnectionConfig(url=request.getfixturevalue(request.param).url))
    log = query_log.create(server, ALIAS)
    assert query_log.ElasticsearchSink(server, ALIAS).write([json.dumps(row).encode() for row in ROWS]) == []
    server.call("POST", path_of(log.name, "_refresh"))
    yield Asked(server)
    server.close()


def slots(rows: list[dict[str, Any]]) -> dict[int, list[dict[str, Any]]]:
    """Rows by ten minutes, their beginning in milliseconds since 1970."""
    found: dict[int, list[dict[str, Any]]] = {}
    for row in rows:
        seconds = int(datetime.fromisoformat(row["@timestamp"]).timestamp())
        found.setdefault(seconds // 600 * 600_000, []).append(row)
    return found


def test_latency(asked: Asked) -> None:
    buckets = asked.buckets("queries-latency")
    expected = slots(WITHIN)
    assert [each["key"] for each in buckets] == sorted(expected)
    for each in buckets:
        times = sorted(row["whole_ms"] for row in expected[each["key"]])
        assert each["doc_count"] == len(times)
        assert [value["key"] for value in each["whole"]["values"]] == [50, 95, 99]
        half, *most = (value["value"] for value in each["whole"]["values"])
        # How a digest of few values interpolates differs between releases, but not beyond the values beside it.
        middle = len(times) / 2
        assert times[int(middle) - 1] <= half <= times[min(len(times) - 1, int(middle) + 1)]
        assert half <= most[0] <= most[1] <= times[-1] * 1.0001
    assert sum(each["doc_count"] for each in asked.buckets("queries-latency", context=USER_3)) == sum(
        row["user"] == "user 3" for row in WITHIN
    )


def test_empty_answers_and_fallbacks(asked: Asked) -> None:
    for each in asked.buckets("queries-empty"):
        rows = slots(WITHIN)[each["key"]]
        assert each["empty"]["doc_count"] == sum(row["empty"] for row in rows)
        assert each["fallback"]["doc_count"] == sum(row["fallback"] for row in rows)
        assert each["doc_count"] == len(rows)


def test_sources(asked: Asked) -> None:
    for each in asked.buckets("queries-sources"):
        counted = {bucket["key"]: bucket["doc_count"] for bucket in each["sources"]["buckets"]}
        assert counted == Counter(row["source"] for row in slots(WITHIN)[each["key"]])


def test_why_codes_did_not_answer(asked: Asked) -> None:
    buckets = asked.buckets("queries-why", "why")
    reasons = Counter(row["why"] for row in WITHIN if "why" in row)
    assert {each["key"]: each["doc_count"] for each in buckets} == reasons
    assert {each["key"]: each["fallback"]["doc_count"] for each in buckets} == {
        "UnknownUserError": reasons["UnknownUserError"],
        "EngineUnavailableError": 0,
    }


def test_numbers_and_the_latest(asked: Asked) -> None:
    """The metric and the saved search, which Kibana asks through the data view and its time field."""
    within = {"range": {"@timestamp": {"gte": SPAN.begin, "lte": SPAN.end, "format": "strict_date_optional_time"}}}
    state = json.loads(found("visualization", "queries-in-numbers")["attributes"]["visState"])
    counted, *others = state["aggs"]
    assert counted["type"] == "count"
    aggs = {each["type"]: {each["type"]: {"field": each["params"]["field"]}} for each in others}
    view = asked.view(found("visualization", "queries-in-numbers"))
    answer = asked.ask(view, {"size": 0, "query": within, "aggs": aggs})
    times = [row["whole_ms"] for row in WITHIN]
    assert answer["hits"]["total"]["value"] == len(WITHIN)
    values = {name: each["value"] for name, each in answer["aggregations"].items()}
    assert values == pytest.approx({"avg": np.mean(times), "max": max(times)})
    search = found("search", "queries")
    assert search["references"][0]["id"] == object_id(ALIAS, DATA_VIEW, "queries")
    columns, sort = search["attributes"]["columns"], search["attributes"]["sort"]
    body = {"size": 500, "_source": False, "fields": columns, "query": within}
    body["sort"] = [{field: {"order": way, "unmapped_type": "boolean"}} for field, way in sort]
    hits = asked.ask(asked.view(search), body)["hits"]["hits"]
    rows = [{field: values[0] for field, values in hit["fields"].items()} for hit in hits]
    shown = [{field: row[field] for field in columns if field in row} for row in reversed(WITHIN)]
    assert [each["whole_ms"] for each in rows] == pytest.approx([each["whole_ms"] for each in shown])
    assert [(each["user"], each["source"], each.get("why")) for each in rows] == [
        (each["user"], each["source"], each.get("why")) for each in shown
    ]


@pytest.mark.parametrize("name", sorted(LOG_PANELS))
def test_pictures(asked: Asked, name: str) -> None:
    png = picture(name, asked.panel(name, span=SPAN))
    assert png.startswith(b"\x89PNG")
    nothing = {"aggregations": {"time": {"buckets": []}, "why": {"buckets": []}}}
    assert len(png) > len(picture(name, nothing)), "the answer is not in the picture"
    keep(name, png)
