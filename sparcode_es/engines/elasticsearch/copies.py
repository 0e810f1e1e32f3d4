"""Whether the shards of indices are there: before anything is written to them, and before readers are sent to them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from sparcode_es.engines.elasticsearch.connection import Server
from sparcode_es.engines.elasticsearch.layout import path_of
from sparcode_es.errors import EngineUnavailableError

POLL_SECONDS = 0.2


def started(server: Server, indices: Sequence[str]) -> tuple[int, int]:
    """How many copies of shards have started, and how many there should be, replicas counted."""
    params = {"level": "shards", "filter_path": "_shards.total,indices.*.shards.*.routing.state"}
    answer: dict[str, Any] = server.call("GET", path_of(",".join(indices), "_stats", "docs"), params=params)
    shards = [copies for index in answer.get("indices", {}).values() for copies in index["shards"].values()]
    states = [copy["routing"]["state"] for copies in shards for copy in copies]
    return states.count("STARTED"), int(answer["_shards"]["total"])


def wait_until_started(server: Server, indices: Sequence[str], seconds: float, advice: str) -> None:
    """Wait until every copy has started. Raises `EngineUnavailableError`, with `advice` at its end, after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        there, wanted = started(server, indices)
        if there >= wanted:
            return
        if time.monotonic() > deadline:
            raise EngineUnavailableError(
                f"{server.where} started {there} of {wanted} shards of {indices[0]} and its companions in {seconds:.0f} s; "
                f"{advice}. `GET _cluster/allocation/explain` says what keeps them: a node that left, full disks, "
                "or allocation turned off."
            )
        time.sleep(POLL_SECONDS)
