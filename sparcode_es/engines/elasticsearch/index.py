"""`index`: load a new generation, check it, and move the aliases to it in one request.

Killed anywhere, the aliases still answer the old generation; the next run removes what was left.
"""

from __future__ import annotations

import contextlib
import itertools
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from sparcode_es import __version__
from sparcode_es.engines.elasticsearch import bulk, chronicle
from sparcode_es.engines.elasticsearch.capabilities import capabilities, choose_field_type
from sparcode_es.engines.elasticsearch.check import check
from sparcode_es.engines.elasticsearch.connection import Server
from sparcode_es.engines.elasticsearch.copies import wait_until_started
from sparcode_es.engines.elasticsearch.generations import delete, point, remove_leftovers, remove_old
from sparcode_es.engines.elasticsearch.layout import (
    SCHEMA_VERSION,
    STAMP,
    aliases_of,
    born,
    check_name,
    generations,
    live_generation,
    meta_of,
    path_of,
    write_meta,
)
from sparcode_es.engines.elasticsearch.runs import Heartbeat, loading_generations, owner
from sparcode_es.engines.elasticsearch.templates import codes_body, items_body, users_body
from sparcode_es.errors import EngineError, EngineUnavailableError, NotFoundError, SparcodeError
from sparcode_es.postings.artifact import Artifact

COMPACT_FROM = 10_000
"""Items from which on it pays to wait until the history may be dropped, before the merge."""
COMPACT_SECONDS = 60
MERGE_SECONDS = 3600.0
CREATE_SECONDS = 60.0
"""How long the shards of a new generation may take to start, empty."""
REPLICA_SECONDS = 600.0
"""How long its replicas may take, full: the aliases move to a generation that a node's death does not take away."""
POPULAR = 100
"""Items kept in the metadata for those whom the codes cannot answer; few, since every reader of the mapping gets them."""
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
    """Wait (half a minute) until the load's history may be dropped, then merge. None: from 10,000 items on."""
    shards: int = 1
    """Primary shards of the items' index. Scores know nothing of shards; BM25 of titles counts words in each of them."""


@dataclass(frozen=True)
class IndexReport:
    """What `index` did."""

    generation: str
    field_type: str
    items: int
    users: int
    codes: int
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


def fresh_suffix(taken: Iterable[str], artifact: Artifact, now: datetime) -> str:
    """`<yyyymmddHHMMSS>-<hash>` of now (UTC), or of the first second after every generation there is: names sort by age,
    also when two loads begin within a second or a clock is set back."""
    moment = max([now.replace(microsecond=0), *(born(suffix) + timedelta(seconds=1) for suffix in taken)])
    return f"{moment:{STAMP}}-{artifact.generation_hash}"


class _Load:
    def __init__(self, server: Server, artifact: Artifact, options: IndexOptions, progress: Progress) -> None:
        self.server, self.artifact, self.options, self.progress = server, artifact, options, progress
        self.name = check_name(options.name)
        self.suffix = fresh_suffix(generations(server, self.name), artifact, datetime.now(timezone.utc))
        self.indices = tuple(f"{alias}-{self.suffix}" for alias in aliases_of(self.name))
        self.items, self.users, self.codes = self.indices
        self.run_id = secrets.token_hex(6)

    def run(self) -> IndexReport:
        started = time.monotonic()
        bulk.check_ids(self.artifact)
        can = capabilities(self.server)
        field_type = choose_field_type(can, self.options.field_type)
        for alias in aliases_of(self.name):
            live_generation(self.server, alias)
        removed = remove_leftovers(self.server, self.name)
        try:
            self._create(can.version, field_type)
            with Heartbeat(lambda: self._put_meta("loading", field_type)):
                self._upload()
                self._finish()
                check(self.server, self.artifact, self.indices, field_type, "the alias was not moved")
        except Exception:
            self._give_up()
            raise
        before = live_generation(self.server, self.name)
        self._swap(field_type)
        removed += remove_old(self.server, self.name, self.options.keep, before)
        chronicle.record(self.server, self.name)
        size = index_bytes(self.server, self.items)
        return IndexReport(
            generation=self.items,
            field_type=field_type,
            items=self.artifact.num_items,
            users=self.artifact.num_users,
            codes=self.artifact.num_codes,
            postings=self.artifact.num_postings,
            bytes=size,
            bytes_per_posting=round(size / max(1, self.artifact.num_postings), 3),
            seconds=round(time.monotonic() - started, 1),
            removed=removed,
        )

    def _meta(self, state: str, field_type: str) -> dict[str, Any]:
        return {**generation_meta(self.artifact, field_type), "state": state, "owner": owner(), "run": self.run_id}

    def _put_meta(self, state: str, field_type: str) -> None:
        write_meta(self.server, self.items, self._meta(state, field_type))

    def _create(self, version: tuple[int, ...], field_type: str) -> None:
        meta = self._meta("loading", field_type)
        items = items_body(field_type, version, self.options.store_codes, meta)
        items["settings"]["index"]["number_of_shards"] = self.options.shards
        for name, body in zip(self.indices, (items, users_body(meta), codes_body(meta)), strict=True):
            self._put_index(name, loading(body))
        others = [s for s in loading_generations(self.server, self.name) if s != self.suffix]
        if others:
            raise EngineError(f"another `index` began to load {self.name}-{others[0]} at the same time; wait for it.")
        wait_until_started(self.server, self.indices, CREATE_SECONDS, "nothing was loaded")

    def _put_index(self, name: str, body: dict[str, Any]) -> None:
        """Create an index. One that is there is ours when only the answer to our first request was lost."""
        try:
            self.server.call("PUT", path_of(name), body)
        except EngineError as error:
            if "resource_already_exists" not in str(error):
                raise
            if not self._is_ours(name):
                raise EngineError(f"another `index` began to load {name} at the same time; wait for it.") from error

    def _is_ours(self, name: str) -> bool:
        return bool(meta_of(self.server, name).get("run") == self.run_id)

    def _give_up(self) -> None:
        """Delete what was loaded of ours; the next run does it where the server cannot be asked now."""
        with contextlib.suppress(SparcodeError):
            if self._is_ours(self.items):
                delete(self.server, self.name, self.suffix)

    def _upload(self) -> None:
        for what, name, documents, count in (
            ("items", self.items, bulk.item_documents(self.artifact), self.artifact.num_items),
            ("users", self.users, bulk.user_documents(self.artifact), self.artifact.num_users),
            ("codes", self.codes, bulk.code_documents(self.artifact), self.artifact.num_codes),
        ):
            self.progress(what, 0, count)

            def done(more: int, what: str = what, count: int = count) -> None:
                self.progress(what, more, count)

            bulk.upload(self.server, name, documents, done)

    def _finish(self) -> None:
        """Refresh, drop the history, merge to one segment, restore the settings."""
        every = path_of(",".join(self.indices))
        self.server.call("POST", f"{every}/_refresh")
        self.server.call("POST", f"{every}/_flush", params={"force": "true", "wait_if_ongoing": "true"})
        compact = self.options.compact
        if self.artifact.num_items >= COMPACT_FROM if compact is None else compact:
            self._wait_for_history()
        self.progress("merge", 0, 1)
        params = {"max_num_segments": 1, "flush": "true"}
        self.server.call("POST", f"{every}/_forcemerge", params=params, timeout=MERGE_SECONDS)
        self.server.call("POST", f"{every}/_flush", params={"force": "true", "wait_if_ongoing": "true"})
        self.server.call("POST", f"{every}/_refresh")
        settings = users_body()["settings"]["index"]
        restored = {key: settings[key] for key in ("auto_expand_replicas", "refresh_interval")}
        self.server.call("PUT", f"{every}/_settings", {"index": restored})
        self.progress("replicas", 0, 1)
        wait_until_started(self.server, self.indices, REPLICA_SECONDS, "the alias was not moved")

    def _wait_for_history(self) -> None:
        """Wait until no retention lease needs the load's operations: only then does a merge drop their copies."""
        self.progress("history", 0, 1)
        deadline = time.monotonic() + COMPACT_SECONDS
        while not history_released(self.server, self.items) and time.monotonic() < deadline:
            time.sleep(1.0)
        self._add_segments()

    def _add_segments(self) -> None:
        """Index and delete one empty document in each shard: a merge rewrites nothing, and frees nothing, where there is
        one segment."""
        spare = "merge"
        while self.artifact.item_ids.find(spare) is not None:
            spare += "_"
        for routing in self._routings():
            flags = {"refresh": "true", "routing": routing}
            self.server.call("PUT", path_of(self.items, "_doc", spare), {}, params=flags)
            with contextlib.suppress(NotFoundError):  # gone, and only the answer was lost
                self.server.call("DELETE", path_of(self.items, "_doc", spare), params=flags)

    def _routings(self) -> list[str]:
        """A value for `routing` that leads to each shard."""
        found: dict[int, str] = {}
        for value in map(str, itertools.count()):
            if len(found) == self.options.shards:
                break
            answer = self.server.call("GET", path_of(self.items, "_search_shards"), params={"routing": value})
            found.setdefault(answer["shards"][0][0]["shard"], value)
        return list(found.values())

    def _swap(self, field_type: str) -> None:
        """Only a generation that is or was live is called ready. A swap without an answer may still happen: what it leaves is
        the next run's to clear up."""
        try:
            point(self.server, self.name, self.suffix)
        except SparcodeError as error:
            if not isinstance(error, EngineUnavailableError):
                self._give_up()
            raise
        self._put_meta("ready", field_type)


def generation_meta(artifact: Artifact, field_type: str) -> dict[str, Any]:
    """What the mapping of an items index says of the artifact that it holds."""
    manifest = artifact.manifest
    return {
        "schema_version": SCHEMA_VERSION,
        "version": __version__,
        "artifact": artifact.generation_hash,
        "updated_from": manifest.get("updated_from"),
        "model_hash": artifact.model_hash,
        "codebook_hash": artifact.codebook_hash,
        "field_type": field_type,
        "counts": {key: value for key, value in manifest["counts"].items() if isinstance(value, int)},
        "bias": manifest["bias"],
        "created_at": manifest.get("created_at"),
        "numbers": True,
        "popular": artifact.popular(POPULAR),
    }


def loading(body: dict[str, Any]) -> dict[str, Any]:
    """An index body with the settings of a load: no refresh, no replicas."""
    settings = {**body["settings"]["index"], "refresh_interval": "-1", "number_of_replicas": 0}
    settings["auto_expand_replicas"] = "false"
    return {**body, "settings": {"index": settings}}


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
    """Bytes of the segments that the primary shards answer from. Files that a merge left to be deleted do not count."""
    answer = server.call("GET", path_of(name, "_segments"))
    copies = [copy for shard in answer["indices"][name]["shards"].values() for copy in shard]
    segments = [segment for copy in copies if copy["routing"]["primary"] for segment in copy["segments"].values()]
    return sum(int(segment["size_in_bytes"]) for segment in segments if segment["search"])
