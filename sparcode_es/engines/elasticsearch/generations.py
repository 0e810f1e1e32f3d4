"""Generations of an alias over their life: which run loads them, which is live, which are deleted."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from sparcode_es.engines.elasticsearch import chronicle
from sparcode_es.engines.elasticsearch.connection import Server
from sparcode_es.engines.elasticsearch.layout import (
    WITHDRAWN,
    aliases_of,
    check_name,
    codes_name,
    generations,
    has_codes,
    live_generation,
    path_of,
    state_of,
    write_meta,
)
from sparcode_es.errors import EngineError, NotFoundError, SparcodeError

STALE_SECONDS = 120
"""A load that has not shown itself for so long has died."""
BEAT_SECONDS = 20
WATCH_SECONDS = 2 * BEAT_SECONDS + 5.0
"""How long a load is watched whose clock and ours are so far apart that its last beat says nothing."""


def owner() -> dict[str, Any]:
    """Who loads a generation, and that it lives now."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "beat": int(time.time())}


class Heartbeat:
    """Calls `beat` every `BEAT_SECONDS` from a thread of its own: also while one request, such as a merge, takes long.

    A beat that fails is left to the next one: the load itself meets the same server and reports what is wrong.
    """

    def __init__(self, beat: Callable[[], None], seconds: float = BEAT_SECONDS) -> None:
        self._beat, self._seconds, self._ended = beat, seconds, threading.Event()
        self.last_error: SparcodeError | None = None
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def _run(self) -> None:
        while not self._ended.wait(self._seconds):
            try:
                self._beat()
            except SparcodeError as error:
                self.last_error = error

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()


def point(server: Server, name: str, suffix: str) -> None:
    """Move all aliases to a generation, in one request. One without a codes index leaves the alias of codes away."""
    actions: list[dict[str, Any]] = []
    for alias in aliases_of(name):
        live = live_generation(server, alias)
        if live is not None and live != suffix:
            actions.append({"remove": {"index": f"{alias}-{live}", "alias": alias}})
        if alias != codes_name(name) or has_codes(server, name, suffix):
            actions.append({"add": {"index": f"{alias}-{suffix}", "alias": alias}})
    try:
        server.call("POST", "/_aliases", {"actions": actions})
    except SparcodeError:
        # Sent again after its answer was lost, a request that was carried out is refused: there is nothing left to move.
        if any(live_generation(server, action["add"]["alias"]) != suffix for action in actions if "add" in action):
            raise


def rollback(server: Server, name: str, to: str | None = None) -> str:
    """Move the aliases to the generation before the live one, or to an older one by its index; returns its index.

    What is newer is withdrawn: no later rollback goes to it unless it is named, and it is the first to be deleted. Where the
    alias was deleted, `to` puts it back on any generation that is ready.
    """
    live = live_generation(server, check_name(name))
    ready = _ready(server, name)
    good = [suffix for suffix, meta in ready.items() if not meta.get(WITHDRAWN)]
    if live is None and to is None:
        advice = f"; `generations rollback --to {name}-{(good or [*ready])[-1]}` puts it back" if ready else ""
        raise NotFoundError(f"{server.where} has no index alias {name}, nothing to roll back{advice}.")
    older = [suffix for suffix in (good if to is None else ready) if live is None or suffix < live]
    if not older:
        raise NotFoundError(f"{name} has no generation older than {live} to go back to.")
    suffix = older[-1] if to is None else to.removeprefix(f"{name}-")
    if suffix not in older:
        than = "" if live is None else f" older than {live}"
        raise NotFoundError(f"{name} has no ready generation {to}{than}; `generations list` names them.")
    for each, meta in ready.items():
        if each >= suffix and bool(meta.get(WITHDRAWN)) != (each > suffix):
            write_meta(server, f"{name}-{each}", {**meta, WITHDRAWN: each > suffix})
    point(server, name, suffix)
    chronicle.record(server, name)
    return f"{name}-{suffix}"


def _ready(server: Server, name: str) -> dict[str, dict[str, Any]]:
    """The generations that are or were live, oldest first, and their metadata."""
    return {suffix: meta for suffix, meta in generations(server, name).items() if meta.get("state") == "ready"}


def delete(server: Server, name: str, suffix: str) -> list[str]:
    """Delete the indices of a generation; the items index, which says whose it is, last."""
    names = [f"{alias}-{suffix}" for alias in reversed(aliases_of(name))]
    for each in names:
        server.call("DELETE", path_of(each), params={"ignore_unavailable": "true"})
    return names


def loading_generations(server: Server, name: str) -> list[str]:
    """Generations that a run which is still alive loads, or updates in place.

    Clocks jump, and differ between machines: where a beat is not of these minutes, it counts whether the heart beats again.
    """
    runs = {suffix: _run_of(meta) for suffix, meta in generations(server, name).items()}
    states = {suffix: is_alive(run) for suffix, run in runs.items()}
    if None in states.values():
        time.sleep(WATCH_SECONDS)
        later = {suffix: _run_of(meta) for suffix, meta in generations(server, name).items()}
        states |= {
            s: later.get(s, {}).get("beat", 0) != runs[s]["beat"] for s, state in states.items() if state is None
        }
    return [suffix for suffix, alive in states.items() if alive]


def _run_of(meta: dict[str, Any]) -> dict[str, Any]:
    """The run that began to write a generation and has not finished; {} for a finished one."""
    run: dict[str, Any] = meta if meta.get("state") == "loading" else meta.get("update") or {}
    return dict(run.get("owner", {}))


def is_alive(run: dict[str, Any]) -> bool | None:
    """Whether the run that began a load still goes on: it shows itself, and its process is there when it is ours.

    None: only its next beat can tell, since its clock or ours is wrong, or it has died elsewhere.
    """
    if "beat" not in run:
        return False
    if run.get("host") == socket.gethostname() and not _runs_here(int(run["pid"])):
        return False
    return True if abs(time.time() - float(run["beat"])) <= STALE_SECONDS else None


def _runs_here(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def remove_leftovers(server: Server, name: str) -> list[str]:
    """Delete what killed runs left. Raises `EngineError` when another run is loading right now.

    A live generation whose run was killed right after the swap is complete: it is marked so.
    """
    alive = loading_generations(server, name)
    if alive:
        raise EngineError(
            f"another `index` is loading or updating {name}-{alive[0]}; wait for it, or end it and try again."
        )
    live, removed = live_generation(server, name), []
    for suffix, meta in generations(server, name).items():
        if meta.get("state") == "ready":
            continue
        if suffix == live:
            write_meta(server, f"{name}-{suffix}", {**meta, "state": "ready"})
        else:
            removed += delete(server, name, suffix)
    return removed


def listed(server: Server, name: str) -> list[dict[str, Any]]:
    """Every generation, oldest first: its items index, state (see `state_of`), whether it is live, model hash, and the artifact
    it holds."""
    live = live_generation(server, check_name(name))
    return [
        {
            "generation": f"{name}-{suffix}",
            "state": state_of(meta),
            "live": suffix == live,
            "model_hash": meta.get("model_hash"),
            "artifact": meta.get("artifact", suffix.partition("-")[2]),
        }
        for suffix, meta in generations(server, name).items()
    ]


def remove_old(server: Server, name: str, keep: int, before: str | None = None) -> list[str]:
    """Delete generations but for `keep`: those that an alias stands for, never deleted, the one that was live `before`, the
    newest; withdrawn ones last of all."""
    live, ready = {live_generation(server, alias) for alias in aliases_of(name)}, _ready(server, name)
    worth = sorted(ready, key=lambda s: (s in live, not ready[s].get(WITHDRAWN), s == before, s), reverse=True)
    return [index for s in sorted(worth[keep:]) if s not in live for index in delete(server, name, s)]


def prune(server: Server, name: str, keep: int) -> list[str]:
    """Delete what killed runs left, and generations but for `keep` as in `remove_old`; returns the deleted indices."""
    removed = remove_leftovers(server, name) + remove_old(server, name, keep)
    chronicle.record(server, name)
    return removed
