"""Segments of an index: what a load leaves is merged to one a shard, without the history of its operations."""

from __future__ import annotations

import contextlib
import itertools
import time
from typing import Any

from sparcode_es.engines.elasticsearch.connection import Server
from sparcode_es.engines.elasticsearch.layout import path_of
from sparcode_es.errors import EngineUnavailableError, NotFoundError
from sparcode_es.postings.artifact import Artifact

HISTORY_SECONDS = 60
MERGE_SECONDS = 3600.0
"""How long one request waits for a merge, which may take longer."""
MERGES = 4
"""How often a merge is asked for that came to nothing."""
POLL_SECONDS = 5.0


def merge(server: Server, indices: str) -> None:
    """Merge every shard of some indices (a path) to one segment.

    Elasticsearch merges on when the request is given up, by a gateway for one: it is asked again only where that came to
    nothing. Raises `EngineUnavailableError` when it always did.
    """
    params = {"max_num_segments": 1, "flush": "true"}
    for left in reversed(range(MERGES)):
        try:
            server.call("POST", f"{indices}/_forcemerge", params=params, attempts=1, timeout=MERGE_SECONDS)
            return
        except EngineUnavailableError:
            _wait_for_merges(server, indices)
            if is_merged(server, indices):
                return
            if not left:
                raise


def _wait_for_merges(server: Server, indices: str) -> None:
    """Wait as long as merges go on."""
    params = {"filter_path": "_all.total.merges.current"}
    while True:
        time.sleep(POLL_SECONDS)
        if not server.call("GET", f"{indices}/_stats/merge", params=params)["_all"]["total"]["merges"]["current"]:
            return


def is_merged(server: Server, indices: str) -> bool:
    """Whether searches of some indices (a path) find one segment a shard, or none."""
    server.call("POST", f"{indices}/_refresh")
    return all(copy["num_search_segments"] <= 1 for copy in _copies(server, indices))


def index_bytes(server: Server, name: str) -> int:
    """Bytes of the segments that the primary shards answer from. Files that a merge left to be deleted do not count."""
    copies = _copies(server, path_of(name))
    segments = [segment for copy in copies if copy["routing"]["primary"] for segment in copy["segments"].values()]
    return sum(int(segment["size_in_bytes"]) for segment in segments if segment["search"])


def _copies(server: Server, indices: str) -> list[dict[str, Any]]:
    answer = server.call("GET", f"{indices}/_segments")
    return [copy for index in answer["indices"].values() for shard in index["shards"].values() for copy in shard]


def wait_for_history(server: Server, name: str) -> None:
    """Wait, not for ever, until no retention lease needs a load's operations: only then does a merge drop their copies."""
    deadline = time.monotonic() + HISTORY_SECONDS
    while not _history_released(server, name) and time.monotonic() < deadline:
        time.sleep(1.0)


def _history_released(server: Server, name: str) -> bool:
    """Whether every retention lease lies past the last operation."""
    answer = server.call("GET", path_of(name, "_stats"), params={"level": "shards"})
    for shards in answer["indices"][name]["shards"].values():
        for shard in shards:
            leases = shard["retention_leases"]["leases"]
            if any(lease["retaining_seq_no"] <= shard["seq_no"]["max_seq_no"] for lease in leases):
                return False
    return True


def add_segments(server: Server, name: str, artifact: Artifact, shards: int) -> None:
    """Index and delete one empty document in each shard: a merge rewrites nothing, and frees nothing, where there is one
    segment."""
    spare = "merge"
    while artifact.item_ids.find(spare) is not None:
        spare += "_"
    for routing in _routings(server, name, shards):
        flags = {"refresh": "true", "routing": routing}
        server.call("PUT", path_of(name, "_doc", spare), {}, params=flags)
        with contextlib.suppress(NotFoundError):  # gone, and only the answer was lost
            server.call("DELETE", path_of(name, "_doc", spare), params=flags)


def _routings(server: Server, name: str, shards: int) -> list[str]:
    """A value for `routing` that leads to each shard."""
    found: dict[int, str] = {}
    for value in map(str, itertools.count()):
        if len(found) == shards:
            break
        answer = server.call("GET", path_of(name, "_search_shards"), params={"routing": value})
        found.setdefault(answer["shards"][0][0]["shard"], value)
    return list(found.values())
