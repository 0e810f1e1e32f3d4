"""`index`: load a new generation, check it, and move both aliases to it in one request.

Killed anywhere, the aliases still answer the old generation; the next run removes what was left.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import Any

from sparcode_es.engines.base import Clause, Query
from sparcode_es.engines.elasticsearch import bulk
from sparcode_es.engines.elasticsearch.capabilities import capabilities, choose_field_type
from sparcode_es.engines.elasticsearch.connection import Server
from sparcode_es.engines.elasticsearch.layout import (
    SCHEMA_VERSION,
    check_name,
    generations,
    live_generation,
    path_of,
    users_name,
)
from sparcode_es.engines.elasticsearch.request import search_body
from sparcode_es.engines.elasticsearch.templates import items_body, users_body
from sparcode_es.errors import EngineError, NotFoundError, VerificationError
from sparcode_es.postings.artifact import Artifact
from sparcode_es.postings.grid import from_grid

STALE_SECONDS = 120
"""A load that has not shown itself for so long has died."""
BEAT_SECONDS = 20
COMPACT_FROM = 1_000_000
"""Postings from which on it pays to wait until the history may be dropped, before the merge."""
COMPACT_SECONDS = 60
MERGE_SECONDS = 3600.0
SAMPLES = 20
Progress = Callable[[str, int, int], None]
"""Told (what, how many more, of how many)."""


@dataclass(frozen=True)
class IndexOptions:
    """How `index` loads."""

    name: str = "sparcode"
    field_type: str = "auto"
    """auto, rank_features or sparse_vector"""
    store_codes: bool = False
    """Keep the codes in `_source`, at six times the disk."""
    keep: int = 2
    """Generations kept, the live one counted."""
    compact: bool | None = None
    """Wait (half a minute) until the load's history may be dropped, then merge. None: from a million postings on."""


@dataclass(frozen=True)
class IndexReport:
    """What `index` did."""

    generation: str
    field_type: str
    items: int
    users: int
    postings: int
    bytes: int
    bytes_per_posting: float
    seconds: float
    removed: list[str]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def index(server: Server, artifact: Artifact, options: IndexOptions, progress: Progress) -> IndexReport:
    """Load `artifact` as a new generation and make it live."""
    return _Load(server, artifact, options, progress).run()


class _Load:
    def __init__(self, server: Server, artifact: Artifact, options: IndexOptions, progress: Progress) -> None:
        self.server, self.artifact, self.options, self.progress = server, artifact, options, progress
        self.name = check_name(options.name)
        stamp = datetime.now(timezone.utc).strftime("%Y%m%d%H%M%S")
        self.suffix = f"{stamp}-{artifact.generation_hash}"
        self.items, self.users = f"{self.name}-{self.suffix}", f"{users_name(self.name)}-{self.suffix}"
        self.beaten = 0.0

    def run(self) -> IndexReport:
        started = time.monotonic()
        bulk.check_ids(self.artifact)
        can = capabilities(self.server)
        field_type = choose_field_type(can, self.options.field_type)
        live_generation(self.server, self.name)
        live_generation(self.server, users_name(self.name)) if self._has_users_index() else None
        removed = remove_leftovers(self.server, self.name)
        self._create(can.version, field_type)
        try:
            self._upload()
            self._finish(field_type)
            self._check(field_type)
            self._swap(field_type)
        except Exception:
            delete(self.server, self.name, self.suffix)
            raise
        removed += remove_old(self.server, self.name, self.options.keep)
        size = index_bytes(self.server, self.items)
        return IndexReport(
            generation=self.items,
            field_type=field_type,
            items=self.artifact.num_items,
            users=self.artifact.num_users,
            postings=self.artifact.num_postings,
            bytes=size,
            bytes_per_posting=round(size / max(1, self.artifact.num_postings), 3),
            seconds=round(time.monotonic() - started, 1),
            removed=removed,
        )

    def _has_users_index(self) -> bool:
        return self.server.exists(path_of(users_name(self.name)))

    def _meta(self, state: str, field_type: str) -> dict[str, Any]:
        manifest = self.artifact.manifest
        return {
            "schema_version": SCHEMA_VERSION,
            "state": state,
            "model_hash": self.artifact.model_hash,
            "codebook_hash": self.artifact.codebook_hash,
            "field_type": field_type,
            "counts": {key: value for key, value in manifest["counts"].items() if isinstance(value, int)},
            "bias": manifest["bias"],
            "created_at": manifest.get("created_at"),
            "owner": {"host": socket.gethostname(), "pid": os.getpid(), "beat": int(time.time())},
        }

    def _put_meta(self, state: str, field_type: str) -> None:
        self.beaten = time.monotonic()
        self.server.call("PUT", path_of(self.items, "_mapping"), {"_meta": self._meta(state, field_type)})

    def _create(self, version: tuple[int, ...], field_type: str) -> None:
        self.field_type = field_type
        meta = self._meta("loading", field_type)
        items = items_body(field_type, version, self.options.store_codes, meta)
        self.server.call("PUT", path_of(self.items), loading(items))
        self.server.call("PUT", path_of(self.users), loading(users_body(meta)))
        self.beaten = time.monotonic()
        others = [s for s in loading_generations(self.server, self.name) if s != self.suffix]
        if others:
            delete(self.server, self.name, self.suffix)
            raise EngineError(f"another `index` began to load {self.name}-{others[0]} at the same time; wait for it.")

    def _upload(self) -> None:
        for what, name, documents, count in (
            ("items", self.items, bulk.item_documents(self.artifact), self.artifact.num_items),
            ("users", self.users, bulk.user_documents(self.artifact), self.artifact.num_users),
        ):
            self.progress(what, 0, count)

            def done(more: int, what: str = what, count: int = count) -> None:
                self.progress(what, more, count)
                if time.monotonic() - self.beaten > BEAT_SECONDS:
                    self._put_meta("loading", self.field_type)

            bulk.upload(self.server, name, documents, done)

    def _finish(self, field_type: str) -> None:
        """Refresh, drop the history, merge to one segment, restore the settings."""
        both = path_of(f"{self.items},{self.users}")
        self.server.call("POST", f"{both}/_refresh")
        self.server.call("POST", f"{both}/_flush", params={"force": "true", "wait_if_ongoing": "true"})
        compact = self.options.compact
        if self.artifact.num_postings >= COMPACT_FROM if compact is None else compact:
            self._wait_for_history(field_type)
        self.progress("merge", 0, 1)
        params = {"max_num_segments": 1, "flush": "true"}
        self.server.call("POST", f"{both}/_forcemerge", params=params, timeout=MERGE_SECONDS)
        self.server.call("POST", f"{both}/_flush", params={"force": "true", "wait_if_ongoing": "true"})
        self.server.call("POST", f"{both}/_refresh")
        settings = users_body()["settings"]["index"]
        restored = {key: settings[key] for key in ("auto_expand_replicas", "refresh_interval")}
        self.server.call("PUT", f"{both}/_settings", {"index": restored})

    def _wait_for_history(self, field_type: str) -> None:
        """Wait until no retention lease needs the load's operations: only then does a merge drop their copies."""
        self.progress("history", 0, 1)
        deadline = time.monotonic() + COMPACT_SECONDS
        while not history_released(self.server, self.items) and time.monotonic() < deadline:
            time.sleep(1.0)
            if time.monotonic() - self.beaten > BEAT_SECONDS:
                self._put_meta("loading", field_type)

    def _check(self, field_type: str) -> None:
        """Counts, and scores of some postings, as real queries answer them."""
        for index_name, expected in ((self.items, self.artifact.num_items), (self.users, self.artifact.num_users)):
            count = self.server.call("GET", path_of(index_name, "_count"))["count"]
            if count != expected:
                raise VerificationError(
                    f"{index_name} holds {count} documents, not {expected}; the alias was not moved."
                )
        for row in bulk.sample_rows(self.artifact.num_codes, SAMPLES):
            self._check_code(row, field_type)

    def _check_code(self, row: int, field_type: str) -> None:
        numbers, grid = self.artifact.postings(row)
        if not len(numbers):
            return
        query = Query((Clause(self.artifact.term(row), 1.0),), k=10)
        answer = self.server.call("POST", path_of(self.items, "_search"), search_body(query, field_type))
        best = sorted(from_grid(grid).tolist(), reverse=True)[:10]
        found = [hit["_score"] for hit in answer["hits"]["hits"][:10]]
        if len(found) != len(best) or any(abs(a - b) > 1e-6 * b for a, b in zip(found, best, strict=True)):
            term = self.artifact.term(row)
            raise VerificationError(f"{self.items} scores the code {term} as {found[:3]}, not {best[:3]}; not swapped.")

    def _swap(self, field_type: str) -> None:
        self._put_meta("ready", field_type)
        point(self.server, self.name, self.suffix)


def loading(body: dict[str, Any]) -> dict[str, Any]:
    """An index body with the settings of a load: no refresh, no replicas."""
    settings = {**body["settings"]["index"], "refresh_interval": "-1", "number_of_replicas": 0}
    settings["auto_expand_replicas"] = "false"
    return {**body, "settings": {"index": settings}}


def point(server: Server, name: str, suffix: str) -> None:
    """Move both aliases to a generation, in one request."""
    actions: list[dict[str, Any]] = []
    for alias in (name, users_name(name)):
        actions.append({"remove": {"index": f"{alias}-*", "alias": alias, "must_exist": False}})
        actions.append({"add": {"index": f"{alias}-{suffix}", "alias": alias}})
    live = live_generation(server, name)
    if live is None:
        actions = [action for action in actions if "add" in action]
    server.call("POST", "/_aliases", {"actions": actions})


def rollback(server: Server, name: str) -> str:
    """Move the aliases to the generation before the live one; returns its index."""
    live = live_generation(server, check_name(name))
    if live is None:
        raise NotFoundError(f"{server.where} has no index alias {name}; there is nothing to roll back.")
    older = [s for s, meta in generations(server, name).items() if s < live and meta.get("state") == "ready"]
    if not older:
        raise NotFoundError(f"{name} has no generation older than {live} to go back to.")
    point(server, name, older[-1])
    return f"{name}-{older[-1]}"


def delete(server: Server, name: str, suffix: str) -> list[str]:
    """Delete both indices of a generation; the items index, which says whose it is, last."""
    names = [f"{users_name(name)}-{suffix}", f"{name}-{suffix}"]
    for each in names:
        server.call("DELETE", path_of(each), params={"ignore_unavailable": "true"})
    return names


def loading_generations(server: Server, name: str) -> list[str]:
    """Unfinished generations whose run is still alive."""
    return [
        suffix
        for suffix, meta in generations(server, name).items()
        if meta.get("state") == "loading" and is_alive(meta.get("owner", {}))
    ]


def is_alive(owner: dict[str, Any]) -> bool:
    """Whether the run that began a load still goes on: it shows itself, and its process is there when it is ours."""
    if time.time() - float(owner.get("beat", 0)) > STALE_SECONDS:
        return False
    if owner.get("host") != socket.gethostname():
        return True
    try:
        os.kill(int(owner["pid"]), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def remove_leftovers(server: Server, name: str) -> list[str]:
    """Delete what killed runs left. Raises `EngineError` when another run is loading right now."""
    alive = loading_generations(server, name)
    if alive:
        raise EngineError(f"another `index` is loading {name}-{alive[0]}; wait for it, or end it and try again.")
    live, removed = live_generation(server, name), []
    for suffix, meta in generations(server, name).items():
        if meta.get("state") != "ready" and suffix != live:
            removed += delete(server, name, suffix)
    return removed


def remove_old(server: Server, name: str, keep: int) -> list[str]:
    """Delete generations but for the newest `keep`; never the live one."""
    live, removed = live_generation(server, name), []
    ready = [suffix for suffix, meta in generations(server, name).items() if meta.get("state") == "ready"]
    for suffix in ready[: max(0, len(ready) - keep)]:
        if suffix != live:
            removed += delete(server, name, suffix)
    return removed


def history_released(server: Server, name: str) -> bool:
    """Whether every retention lease lies past the last operation."""
    answer = server.call("GET", path_of(name, "_stats"), params={"level": "shards"})
    for shards in answer["indices"][name]["shards"].values():
        for shard in shards:
            leases = shard["retention_leases"]["leases"]
            if any(lease["retaining_seq_no"] <= shard["seq_no"]["max_seq_no"] for lease in leases):
                return False
    return True


def index_bytes(server: Server, name: str) -> int:
    """Bytes of the primary shards on disk."""
    answer = server.call("GET", path_of(name, "_stats", "store"))
    return int(answer["_all"]["primaries"]["store"]["size_in_bytes"])
