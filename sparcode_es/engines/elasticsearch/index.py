"""`index`: load a new generation, check it, and move the aliases to it in one request.

Killed anywhere, the aliases still answer the old generation; the next run removes what was left, or goes on from there where
the same was all uploaded.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from sparcode_es import __version__
from sparcode_es.config import to_mapping
from sparcode_es.engines.elasticsearch import bulk, chronicle
from sparcode_es.engines.elasticsearch.capabilities import Capabilities, capabilities, choose_field_type
from sparcode_es.engines.elasticsearch.check import check
from sparcode_es.engines.elasticsearch.connection import Server
from sparcode_es.engines.elasticsearch.copies import wait_until_started
from sparcode_es.engines.elasticsearch.generations import delete, point, remove_leftovers, remove_old
from sparcode_es.engines.elasticsearch.layout import (
    LOADED,
    LOADING,
    READY,
    SCHEMA_VERSION,
    STAMP,
    aliases_of,
    born,
    check_name,
    generations,
    has_codes,
    live_generation,
    meta_of,
    path_of,
    write_meta,
)
from sparcode_es.engines.elasticsearch.runs import Heartbeat, loading_generations, owner
from sparcode_es.engines.elasticsearch.segments import add_segments, index_bytes, merge, wait_for_history
from sparcode_es.engines.elasticsearch.templates import codes_body, items_body, users_body
from sparcode_es.errors import EngineAuthError, EngineError, EngineUnavailableError, SparcodeError
from sparcode_es.postings.artifact import Artifact

COMPACT_FROM = 10_000
"""Items from which on it pays to wait until the history may be dropped, before the merge."""
CREATE_SECONDS = 60.0
"""How long the shards of a new generation may take to start, empty."""
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
    replica_seconds: float = 600.0
    """How long the replicas may take, full: the aliases move to a generation that a node's death does not take away."""

    def __post_init__(self) -> None:
        check_name(self.name)


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


def check_server(server: Server, options: IndexOptions) -> None:
    """Raise what keeps a server from taking any artifact with these options: it is away, too old, or lacks the field type."""
    choose_field_type(capabilities(server), options.field_type)


def index(server: Server, artifact: Artifact, options: IndexOptions, progress: Progress) -> IndexReport:
    """Load `artifact` as a new generation, or finish what a run before left of it all uploaded, and make it live.

    Raises `VerificationError` for a generation that fails its check; it is deleted, as after any error but one: where the server
    is away, or refuses the credentials, after the upload (`EngineUnavailableError`, `EngineAuthError`), it stays.
    """
    bulk.check_ids(artifact)
    return _Load(server, artifact, options, progress, capabilities(server)).run()


def fresh_suffix(taken: Iterable[str], artifact: Artifact, now: datetime) -> str:
    """`<yyyymmddHHMMSS>-<hash>` of now (UTC), or of the first second after every generation there is: names sort by age,
    also when two loads begin within a second or a clock is set back."""
    moment = max([now.replace(microsecond=0), *(born(suffix) + timedelta(seconds=1) for suffix in taken)])
    return f"{moment:{STAMP}}-{artifact.generation_hash}"


class _Load:
    def __init__(
        self, server: Server, artifact: Artifact, options: IndexOptions, progress: Progress, can: Capabilities
    ) -> None:
        self.server, self.artifact, self.options, self.progress, self.can = server, artifact, options, progress, can
        self.name, self.run_id = options.name, secrets.token_hex(6)
        self.field_type = choose_field_type(can, options.field_type)
        made = {"store_codes": options.store_codes, "shards": options.shards}
        self.content = {**generation_meta(artifact, self.field_type), **made}
        found = generations(server, self.name)
        # A run that was killed while it deleted one had begun with the codes index.
        left = [s for s, meta in found.items() if self._is_loaded(meta) and has_codes(server, self.name, s)]
        self.left = left[-1] if left else None
        self.suffix = self.left or fresh_suffix(found, artifact, datetime.now(timezone.utc))
        self.indices = tuple(f"{alias}-{self.suffix}" for alias in aliases_of(self.name))
        self.items, self.users, self.codes = self.indices
        self.state, self.merged = LOADING, False
        self._writing = threading.Lock()

    def run(self) -> IndexReport:
        started = time.monotonic()
        before, _, _ = (live_generation(self.server, alias) for alias in aliases_of(self.name))
        removed = remove_leftovers(self.server, self.name, spared=self.left)
        try:
            if self.left is None:
                self._create()
            else:
                self._take_up()
            with Heartbeat(self._put_meta):
                self._load()
            self._swap()
        except (EngineUnavailableError, EngineAuthError) as error:
            if self.state == LOADED:
                raise self._kept(error) from error
            self._give_up()
            raise
        except Exception:
            self._give_up()
            raise
        removed += remove_old(self.server, self.name, self.options.keep, before)
        chronicle.record(self.server, self.name)
        size = index_bytes(self.server, self.items)
        return IndexReport(
            generation=self.items,
            field_type=self.field_type,
            items=self.artifact.num_items,
            users=self.artifact.num_users,
            codes=self.artifact.num_codes,
            postings=self.artifact.num_postings,
            bytes=size,
            bytes_per_posting=round(size / max(1, self.artifact.num_postings), 3),
            seconds=round(time.monotonic() - started, 1),
            removed=removed,
        )

    def _load(self) -> None:
        """What is still to be done, from the first document to the check."""
        if self.state == LOADING:
            self._upload()
            self.state = LOADED
            self._put_meta()
        if not self.merged:
            self._merge()
            self.merged = True
            self._put_meta()
        settings = users_body()["settings"]["index"]
        restored = {key: settings[key] for key in ("auto_expand_replicas", "refresh_interval")}
        self.server.call("PUT", f"{self._every}/_settings", {"index": restored})
        self.progress("replicas", 0, 1)
        wait_until_started(self.server, self.indices, self.options.replica_seconds, "the alias was not moved")
        check(self.server, self.artifact, self.indices, self.field_type, "the alias was not moved")

    @property
    def _every(self) -> str:
        return path_of(",".join(self.indices))

    def _put_meta(self, alive: bool = True) -> None:
        """One at a time: a heartbeat must not bring back a state that is past."""
        with self._writing:
            state = {"state": self.state, "merged": self.merged, "owner": owner() if alive else {}, "run": self.run_id}
            write_meta(self.server, self.items, self.content | state)

    def _create(self) -> None:
        meta = {**self.content, "state": LOADING, "owner": owner(), "run": self.run_id}
        items = items_body(self.field_type, self.can.version, self.options.store_codes, meta)
        items["settings"]["index"]["number_of_shards"] = self.options.shards
        for name, body in zip(self.indices, (items, users_body(meta), codes_body(meta)), strict=True):
            self._put_index(name, loading(body))
        others = [s for s in loading_generations(self.server, self.name) if s != self.suffix]
        if others:
            raise EngineError(f"another `index` began to load {self.name}-{others[0]} at the same time; wait for it.")
        wait_until_started(self.server, self.indices, CREATE_SECONDS, "nothing was loaded")

    def _is_loaded(self, meta: dict[str, Any]) -> bool:
        """Whether a run before this one uploaded the same and could not finish."""
        return meta.get("state") == LOADED and all(meta.get(key) == value for key, value in self.content.items())

    def _take_up(self) -> None:
        """Go on with what a run before this one left."""
        self.state, self.merged = LOADED, bool(meta_of(self.server, self.items).get("merged"))
        self._put_meta()
        if not self._is_ours(self.items):
            raise EngineError(f"another `index` began to finish {self.items} at the same time; wait for it.")

    def _kept(self, error: SparcodeError) -> SparcodeError:
        """What is said when the server is away after the upload, which the same command need not repeat."""
        with contextlib.suppress(SparcodeError):
            if self._is_ours(self.items):
                self._put_meta(alive=False)
        return type(error)(
            f"{error} What was uploaded stays in {self.items}: give the same command again, and it goes on from there; "
            "`generations prune` deletes it."
        )

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
        """Delete what was loaded of ours, unless it is live; the next run does it where the server cannot be asked now."""
        with contextlib.suppress(SparcodeError):
            live = {live_generation(self.server, alias) for alias in aliases_of(self.name)}
            if self.suffix not in live and self._is_ours(self.items):
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

    def _merge(self) -> None:
        """Refresh, drop the history, merge to one segment."""
        self.server.call("POST", f"{self._every}/_refresh")
        self._flush()
        compact = self.options.compact
        if self.artifact.num_items >= COMPACT_FROM if compact is None else compact:
            self.progress("history", 0, 1)
            wait_for_history(self.server, self.items)
            add_segments(self.server, self.items, self.artifact, self.options.shards)
        self.progress("merge", 0, 1)
        merge(self.server, self._every)
        self._flush()
        self.server.call("POST", f"{self._every}/_refresh")

    def _flush(self) -> None:
        self.server.call("POST", f"{self._every}/_flush", params={"force": "true", "wait_if_ongoing": "true"})

    def _swap(self) -> None:
        """Only a generation that is or was live is called ready. A swap without an answer may still happen."""
        point(self.server, self.name, self.suffix)
        self.state = READY
        self._put_meta()


def generation_meta(artifact: Artifact, field_type: str) -> dict[str, Any]:
    """What the mapping of an items index says of the artifact that it holds."""
    manifest = artifact.manifest
    return {
        "schema_version": SCHEMA_VERSION,
        "version": __version__,
        "artifact": artifact.generation_hash,
        "updated_from": manifest.updated_from,
        "splits_seen": list(artifact.splits_seen),
        "model_hash": artifact.model_hash,
        "codebook_hash": artifact.codebook_hash,
        "field_type": field_type,
        "counts": to_mapping(manifest.counts),
        "bias": manifest.bias,
        "created_at": manifest.created_at,
        "popular": artifact.popular(POPULAR),
    }


def loading(body: dict[str, Any]) -> dict[str, Any]:
    """An index body with the settings of a load: no refresh, no replicas."""
    settings = {**body["settings"]["index"], "refresh_interval": "-1", "number_of_replicas": 0}
    settings["auto_expand_replicas"] = "false"
    return {**body, "settings": {"index": settings}}
