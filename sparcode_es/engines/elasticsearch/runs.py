"""The runs that write generations: who they are, and whether they still live."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from sparcode_es.engines.elasticsearch.connection import ConflictError, Server
from sparcode_es.engines.elasticsearch.layout import READY, generations, path_of
from sparcode_es.engines.processes import runs_here
from sparcode_es.errors import EngineError, SparcodeError

STALE_SECONDS = 120
"""A load that has not shown itself for so long has died."""
BEAT_SECONDS = 20
WATCH_SECONDS = 2 * BEAT_SECONDS + 5.0
"""How long a load is watched whose clock and ours are so far apart that its last beat says nothing."""
CLAIMS = 5
"""How often a document is claimed that others write meanwhile."""
BOOT = Path("/proc/sys/kernel/random/boot_id")
PROCESSES = Path("/proc/self/ns/pid")


def owner() -> dict[str, Any]:
    """Who loads a generation, and that it lives now."""
    return {"host": socket.gethostname(), "space": process_space(), "pid": os.getpid(), "beat": int(time.time())}


def process_space() -> str | None:
    """Where a process number means the same process: this machine since it was started, and on Linux this container of it,
    which may share its host name with others. None where that cannot be told."""
    if not sys.platform.startswith("linux"):
        return socket.gethostname()
    try:
        return f"{BOOT.read_text(encoding='ascii').strip()} {PROCESSES.readlink()}"
    except OSError:
        return None


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


class Claim:
    """A document written again, as it is: of the runs that claim the same one, the last is told from the others.

    A run that claims, looks for marks of others, leaves its own mark, and then finds its claim the last, is alone: who claims
    later finds its mark. Raises `EngineError` when the document is written without end, `NotFoundError` without it.
    """

    def __init__(self, server: Server, index: str, document: str) -> None:
        self._server, self._path = server, path_of(index, "_doc", document)
        for _ in range(CLAIMS):
            found = server.call("GET", self._path)
            params = {"if_seq_no": found["_seq_no"], "if_primary_term": found["_primary_term"]}
            try:
                self._number = server.call("PUT", self._path, found["_source"], params=params)["_seq_no"]
                return
            except ConflictError:  # another run's, or our own whose answer was lost
                continue
        raise EngineError(f"others keep writing to {index}; wait for them.")

    def is_last(self) -> bool:
        """Whether nobody has written the document since."""
        return bool(self._server.call("GET", self._path)["_seq_no"] == self._number)


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
    run: dict[str, Any] = (meta.get("update") or {}) if meta.get("state") == READY else meta
    return dict(run.get("owner", {}))


def is_alive(run: dict[str, Any]) -> bool | None:
    """Whether the run that began a load still goes on: it shows itself, and its process is there when it is ours.

    None: only its next beat can tell, since its clock or ours is wrong, or it has died elsewhere.
    """
    if "beat" not in run:
        return False
    space = process_space()
    if space is not None and run["space"] == space and not runs_here(int(run["pid"])):
        return False
    return True if abs(time.time() - float(run["beat"])) <= STALE_SECONDS else None
