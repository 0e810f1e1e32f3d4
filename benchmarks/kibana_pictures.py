"""Pictures of the Kibana panels: each panel's own requests, asked of a real server as Kibana asks them, drawn by Vega."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor as Pool
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import vl_convert

from sparcode_es import Recommender
from sparcode_es.engines.elasticsearch.connection import ConnectionConfig, Server
from sparcode_es.engines.elasticsearch.layout import path_of
from sparcode_es.engines.elasticsearch.query_log import ElasticsearchSink
from sparcode_es.engines.plans import Limits
from sparcode_es.kibana.objects import saved_objects
from sparcode_es.postings.artifact import Artifact
from sparcode_es.serving.log import LogOptions, QueryLog

ALIAS = "recs"
SIZE, WIDE = (560, 340), (900, 480)
"""A panel of half a dashboard's width, and one of the whole."""
BEGIN, DAY = datetime(2026, 1, 1, tzinfo=timezone.utc), 86_400
QUESTIONS = 1_500
RUSH = range(int(QUESTIONS * 0.55), int(QUESTIONS * 0.65))
"""Questions that come `AT_ONCE`, more than are let through: popular items answer the others."""
AT_ONCE, LET_THROUGH = 10, 8


@dataclass(frozen=True)
class Chosen:
    """What the pictures' dashboards are filtered by: a user and an item that the index has."""

    user: str
    item: str

    def context(self) -> dict[str, list[Any]]:
        """Kibana's clauses, by kind."""
        filters = [{"match_phrase": {"user": self.user}}, {"match_phrase": {"item": self.item}}]
        return {"must": [], "filter": filters, "must_not": []}


@dataclass(frozen=True)
class StretchedSink:
    """The query log of the alias, with the questions' times stretched over a day, fewer of them at night."""

    sink: ElasticsearchSink
    times: Iterator[str]
    where: str = "a stretched log"

    def write(self, documents: Sequence[bytes]) -> list[str]:
        """See `sparcode_es.serving.log.Sink`."""
        moved = [orjson.dumps({**orjson.loads(each), "@timestamp": next(self.times)}) for each in documents]
        return self.sink.write(moved)

    def close(self) -> None:
        """The server is closed by who opened it."""


def times_of_a_day() -> Iterator[str]:
    """`QUESTIONS` times between one midnight and the next."""
    share = np.linspace(0, 1, QUESTIONS, endpoint=False)
    for each in share + 0.7 * np.sin(2 * math.pi * share) / (2 * math.pi):
        yield (BEGIN + timedelta(seconds=DAY * float(each))).isoformat(timespec="milliseconds")


def ask_for_a_day(url: str, artifact: Artifact) -> None:
    """Real questions into the query log; some by users whom nobody knows, some with a filter that nothing passes."""
    rng = np.random.default_rng(0)
    whom = np.minimum(rng.exponential(artifact.num_users / 4, QUESTIONS).astype(int), artifact.num_users - 1)
    chance = rng.random(QUESTIONS)
    server = Server(ConnectionConfig(url=url))
    log = QueryLog(StretchedSink(ElasticsearchSink(server, ALIAS), times_of_a_day()), LogOptions(users="none"))
    limits = Limits(in_flight=LET_THROUGH)
    with Recommender.from_elasticsearch(url, ALIAS, log=log, limits=limits) as recommender, Pool(AT_ONCE) as pool:

        def ask(number: int) -> None:
            user = f"new {number}" if chance[number] > 0.97 else artifact.user_ids[int(whom[number])]
            recommender.recommend(user, filter={"genre": ["no such genre"]} if chance[number] < 0.02 else None)

        for number in range(0, QUESTIONS, AT_ONCE):
            together = range(number, number + AT_ONCE)
            list(pool.map(ask, together) if number in RUSH else map(ask, together))
    server.close()


def panels() -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and specification of each Vega panel."""
    for each in saved_objects(ALIAS, "9"):
        state = json.loads(each["attributes"].get("visState", "{}"))
        if state.get("type") == "vega":
            title = state["title"].removesuffix(f" ({ALIAS})")
            yield re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-"), json.loads(state["params"]["spec"])


def answered(value: Any, server: Server, chosen: Chosen) -> Any:
    """The specification with each query replaced by the server's answer, as Kibana does."""
    if isinstance(value, list):
        return [answered(each, server, chosen) for each in value]
    if not isinstance(value, dict):
        return value
    url = value.get("url")
    if isinstance(url, dict) and "index" in url:
        answer = server.call("POST", path_of(url["index"], "_search"), request(url, chosen))
        return {**{key: each for key, each in value.items() if key != "url"}, "values": answer}
    return {key: answered(each, server, chosen) for key, each in value.items()}


def request(url: dict[str, Any], chosen: Chosen) -> dict[str, Any]:
    """What Kibana sends for a panel. A time field means the questions' day, in buckets of half an hour."""
    query: dict[str, Any] = {"match_all": {}}
    if "%timefield%" in url:
        query = {"range": {url["%timefield%"]: {"gte": BEGIN.isoformat(), "lt": (BEGIN + timedelta(1)).isoformat()}}}
    filled: dict[str, Any] = _filled({"track_total_hits": True, "query": query, **url["body"]}, chosen.context())
    return filled


def _filled(value: Any, clauses: dict[str, list[Any]]) -> Any:
    if isinstance(value, list):
        found = []
        for each in value:
            name = re.fullmatch(r"%dashboard_context-(\w+)_clause%", each) if isinstance(each, str) else None
            found += [_filled(each, clauses)] if name is None else clauses[name[1]]
        return found
    if not isinstance(value, dict):
        return value
    if value.get("interval") == {"%autointerval%": True}:
        return {**{key: each for key, each in value.items() if key != "interval"}, "fixed_interval": "30m"}
    return {key: _filled(each, clauses) for key, each in value.items()}


def drawn(spec: dict[str, Any]) -> bytes:
    """A panel as a PNG, in the size that it has on a dashboard."""
    lite = "vega-lite" in spec["$schema"]
    width, height = SIZE if lite else WIDE
    fit = {"type": "fit", "contains": "padding"}
    sized = {**spec, "width": width, "height": height, "autosize": fit, "background": "white"}
    if lite:
        return bytes(vl_convert.vegalite_to_png(sized, vl_version="5.8", scale=1.5))
    return bytes(vl_convert.vega_to_png(sized, scale=1.5))


def draw_panels(url: str, artifact: Artifact, chosen: Chosen, folder: Path) -> list[Path]:
    """Ask the server behind `url`, which has `artifact` under `ALIAS`, for every panel; returns the pictures' paths."""
    ask_for_a_day(url, artifact)
    server = Server(ConnectionConfig(url=url))
    server.call("POST", path_of(f"{ALIAS}-queries", "_refresh"))
    paths = []
    for name, spec in panels():
        paths.append(folder / f"kibana-{name}.png")
        paths[-1].write_bytes(drawn(answered(spec, server, chosen)))
    server.close()
    return paths
