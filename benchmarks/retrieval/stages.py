"""Where the time of one request to Elasticsearch goes, and what a whole `query --user` process takes."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from timing import time_queries

from retrieval.servers import NAME
from retrieval.systems import BARE, Queries
from sparcode_es.engines.elasticsearch import request
from sparcode_es.engines.elasticsearch.connection import ConnectionConfig, Server
from sparcode_es.engines.elasticsearch.engine import ElasticsearchEngine
from sparcode_es.engines.elasticsearch.source import HITS


def request_stages(url: str, queries: Queries, field_type: str, count: int) -> dict[str, float]:
    """Median milliseconds: the body, a round trip for all hits, one for a single hit (so that the difference is the fetch
    phase and its JSON), an empty round trip, and the whole `engine.search`. `server says` is the mean of `took`."""
    server = Server(ConnectionConfig(url=url))
    engine, took = ElasticsearchEngine(server, NAME), []

    def bodies(user: int) -> dict[str, Any]:
        return request.search_body(queries.query(BARE, user), field_type)

    def ask(user: int, **changes: Any) -> Any:
        params = {"filter_path": f"took,{HITS}"}
        return server.call("POST", f"/{NAME}/_search", {**bodies(user), **changes}, params=params)

    asked: dict[str, Callable[[int], Any]] = {
        "body": lambda user: orjson.dumps(bodies(user)),
        "round trip, all hits": lambda user: took.append(ask(user)["took"]),
        "round trip, one hit": lambda user: ask(user, size=1),
        "round trip, nothing": lambda user: server.call("GET", "/_cluster/health", params={"filter_path": "status"}),
        "search": lambda user: engine.search(queries.query(BARE, user)),
    }
    times = {name: each.p50_ms for name, each in time_queries(asked, count).items()}
    server.close()
    return times | {"server says": round(float(np.mean(took)), 4)}


def whole_process(program: Path, flags: list[str], times: int) -> dict[str, Any]:
    """Seconds of `PROGRAM query --user u… --exclude-seen FLAGS`, start and end of the process within: median and worst."""
    found = []
    for user in range(times):
        command = [str(program), "query", "--user", f"u{user}", "--exclude-seen", *flags]
        started = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        found.append(time.perf_counter() - started)
    return {"seconds_p50": round(float(np.median(found)), 3), "seconds_worst": round(max(found), 3), "processes": times}
