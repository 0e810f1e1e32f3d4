"""`index --update`: write the documents that an updated artifact changed into the live generation, in place.

Refresh is off meanwhile: searches answer as before until the last step shows all items at once (a shard's copies moments
apart; a restarted node shows what it has). Users' entries are read by id and change as they are written: codes of the same
model, so that each answer is Eq. 11 on one set of scores. What the generation held before is overwritten; no rollback
brings it back. Killed anywhere, the metadata says so and a rerun finishes.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sparcode_es.engines.elasticsearch import bulk, chronicle
from sparcode_es.engines.elasticsearch.check import Sample, check, check_documents
from sparcode_es.engines.elasticsearch.connection import Server
from sparcode_es.engines.elasticsearch.index import Progress, generation_meta
from sparcode_es.engines.elasticsearch.layout import (
    aliases_of,
    check_name,
    live_generation,
    meta_of,
    path_of,
    read_meta,
    write_meta,
)
from sparcode_es.engines.elasticsearch.runs import Claim, Heartbeat, loading_generations, owner
from sparcode_es.engines.elasticsearch.templates import users_body
from sparcode_es.errors import EngineError, MismatchError, SparcodeError
from sparcode_es.postings.artifact import Artifact

NEW_GENERATION = "load it as a new generation: leave out --update"


@dataclass(frozen=True)
class UpdateReport:
    """What `index --update` did."""

    generation: str
    artifact: str
    updated_from: str
    items: int
    """Item documents written."""
    users: int
    """User documents written."""
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def update(server: Server, artifact: Artifact, name: str, progress: Progress) -> UpdateReport:
    """Make the live generation of the alias `name` hold `artifact`, an update of what it holds.

    Raises `MismatchError` when the live generation holds something else than what the artifact was updated from.
    """
    started = time.monotonic()
    bulk.check_ids(artifact)
    meta = read_meta(server, check_name(name))
    items_index = str(meta["generation"])
    suffix = items_index.removeprefix(f"{name}-")
    indices = [f"{alias}-{suffix}" for alias in aliases_of(name)]
    for alias, companion in zip(aliases_of(name)[1:], indices[1:], strict=True):
        if live_generation(server, alias) != suffix:
            raise EngineError(f"the alias {alias} does not stand for {companion}; {NEW_GENERATION}.")
    _pending(artifact, meta)
    # An artifact's first user is the first of all that it was updated from.
    claim = Claim(server, indices[1], artifact.user_ids[0])
    alive = loading_generations(server, name)
    if alive:
        raise EngineError(f"another `index` is loading or updating {name}-{alive[0]}; wait for it.")
    meta |= meta_of(server, items_index)
    holds, since = _pending(artifact, meta)
    items, users = (changed > since for changed in artifact.last_updates())
    if holds != artifact.generation_hash:
        _InPlace(server, artifact, indices, meta).run(claim, items, users, progress)
    chronicle.record(server, name)
    seconds = round(time.monotonic() - started, 1)
    return UpdateReport(items_index, artifact.generation_hash, holds, int(items.sum()), int(users.sum()), seconds)


def _pending(artifact: Artifact, meta: dict[str, Any]) -> tuple[str, int]:
    """The artifact that a generation holds, and how many of the updates that lead to `artifact` it has."""
    holds = str(meta["artifact"])
    steps = [each.from_ for each in artifact.manifest.updates] + [artifact.generation_hash]
    if holds not in steps or meta["model_hash"] != artifact.model_hash:
        raise MismatchError(
            f"{meta['generation']} holds the artifact {holds}, from which {artifact.path} was not updated; {NEW_GENERATION}"
        )
    begun = (meta.get("update") or {}).get("to", holds)
    if begun not in steps:
        raise MismatchError(
            f"an update of {meta['generation']} to the artifact {begun} was killed half-way, and {artifact.path} does not go "
            f"on from it; finish that one first, or {NEW_GENERATION}"
        )
    return holds, steps.index(holds)


class _InPlace:
    def __init__(self, server: Server, artifact: Artifact, indices: list[str], meta: dict[str, Any]) -> None:
        self.server, self.artifact, self.indices = server, artifact, indices
        self.items, self.users, self.codes = indices
        self.before = {key: value for key, value in meta.items() if key not in ("generation", "update")}
        self.field_type = str(self.before["field_type"])
        self.run_id, self.alone = secrets.token_hex(6), False

    def run(self, claim: Claim, items: np.ndarray, users: np.ndarray, progress: Progress) -> None:
        """Write the documents of these items and users (bool) and of all codes, which one new posting may change by lift or
        by traffic; show them, check, and say so in the metadata."""
        self._mark()
        if not claim.is_last():
            raise EngineError(f"another `index` began to update {self.items} at the same time; wait for it.")
        self.alone = True
        self._mark()
        try:
            with Heartbeat(self._beat):
                self._write(items, users, progress)
            self._require_alone()
        except Exception:
            with contextlib.suppress(SparcodeError):
                self._require_alone()
                self._mark(alive=False)
            raise
        write_meta(self.server, self.items, {**self.before, **generation_meta(self.artifact, self.field_type)})

    def _write(self, items: np.ndarray, users: np.ndarray, progress: Progress) -> None:
        written = Sample(int(items.sum()))
        self._refresh_every("-1")
        for what, index, documents, count in (
            ("items", self.items, written.of(bulk.item_documents(self.artifact, items)), int(items.sum())),
            ("users", self.users, bulk.user_documents(self.artifact, users), int(users.sum())),
            ("codes", self.codes, bulk.code_documents(self.artifact), self.artifact.num_codes),
        ):
            progress(what, 0, count)
            bulk.upload(self.server, index, documents, _told(progress, what, count))
        self.server.call("POST", f"{self._every}/_refresh")
        self._refresh_every(users_body()["settings"]["index"]["refresh_interval"])
        check(self.server, self.artifact, self.indices, self.field_type, NEW_GENERATION)
        check_documents(self.server, self.items, self.field_type, written.kept, NEW_GENERATION)

    def _mark(self, alive: bool = True) -> None:
        """Say that an update has begun, to what, by whom, and that its run lives, or has ended before its time."""
        who = owner() if alive else {}
        mark = {"to": self.artifact.generation_hash, "owner": who, "run": self.run_id, "alone": self.alone}
        write_meta(self.server, self.items, {**self.before, "update": mark})

    def _beat(self) -> None:
        self._require_alone()
        self._mark()

    def _require_alone(self) -> None:
        """Raise `EngineError` when another run took this one for dead. A mark of one that was not alone stands for nothing."""
        mark = meta_of(self.server, self.items).get("update")
        if mark is None or (mark["run"] != self.run_id and mark["alone"]):
            raise EngineError(f"another `index` took over {self.items}, which stood still for long; {NEW_GENERATION}.")

    @property
    def _every(self) -> str:
        return path_of(",".join(self.indices))

    def _refresh_every(self, interval: str) -> None:
        self.server.call("PUT", f"{self._every}/_settings", {"index": {"refresh_interval": interval}})


def _told(progress: Progress, what: str, count: int) -> Callable[[int], None]:
    return lambda more: progress(what, more, count)
