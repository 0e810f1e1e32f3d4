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

from sparcode_es.engines.elasticsearch.connection import Server
from sparcode_es.engines.elasticsearch.layout import generations
from sparcode_es.errors import SparcodeError

STALE_SECONDS = 120
"""A load that has not shown itself for so long has died."""
BEAT_SECONDS = 20
WATCH_SECONDS = 2 * BEAT_SECONDS + 5.0
"""How long a load is watched whose clock and ours are so far apart that its last beat says nothing."""
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
    space = process_space()
    if space is not None and run.get("space") == space and not _runs_here(int(run["pid"])):
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
