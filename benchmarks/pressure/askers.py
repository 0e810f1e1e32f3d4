"""Who is asked: the recommender in this process, and the HTTP service in one of its own."""

from __future__ import annotations

import contextlib
import http.client
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import orjson

from pressure.arrivals import Question
from sparcode_es import Recommendations, Recommender
from sparcode_es.engines.node.process import free_port

K = 20
START_SECONDS = 60.0


@dataclass(frozen=True)
class Asked:
    """A way to ask, and the process whose memory counts."""

    name: str
    ask: Question
    pid: int


def outcome_of(source: str, reason: str | None) -> str:
    """How a page came about; see `OUTCOMES`."""
    if source == "codes":
        return "codes"
    return "shed" if (reason or "").startswith("shed") else "popular"


def by_recommender(recommender: Recommender, users: Sequence[str]) -> Question:
    """Known users in turn, through the Python API."""

    def ask(number: int) -> str:
        answer: Recommendations = recommender.recommend(users[number % len(users)], k=K)
        if not answer.items:
            raise ValueError("an empty page")
        return outcome_of(answer.source, answer.reason)

    return ask


def by_http(port: int, users: Sequence[str]) -> Question:
    """Known users in turn, over connections that stay open, one a thread."""
    local = threading.local()

    def ask(number: int) -> str:
        connection: http.client.HTTPConnection | None = getattr(local, "connection", None)
        if connection is None:
            connection = local.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        body = orjson.dumps({"user": users[number % len(users)], "k": K})
        try:
            connection.request("POST", "/recommend", body, {"content-type": "application/json"})
            response = connection.getresponse()
            content = response.read()
        except Exception:
            connection.close()
            local.connection = None
            raise
        return _outcome(response.status, response.headers.get("retry-after"), content)

    return ask


def _outcome(status: int, retry_after: str | None, content: bytes) -> str:
    found = orjson.loads(content)
    if status == 503 and retry_after:
        return "refused"
    if status != 200 or not found["items"]:
        raise ValueError(f"answered {status}: {content[:100]!r}")
    return outcome_of(found["source"], found["reason"])


@contextlib.contextmanager
def service(url: str, index: str, options: Sequence[str] = ()) -> Iterator[tuple[int, int]]:
    """`sparcode-es serve` over an alias, until the block ends: its port and its process."""
    port = free_port()
    command = [sys.executable, "-m", "sparcode_es_cli", "serve", "--url", url, "--index", index, "--port", str(port)]
    with subprocess.Popen([*command, *options]) as process:
        try:
            _wait(lambda: socket.create_connection(("127.0.0.1", port), timeout=1).close(), process)
            yield port, process.pid
        finally:
            process.terminate()


def _wait(reached: Callable[[], None], process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            return reached()
        except OSError:
            if process.poll() is not None or time.monotonic() > end:
                raise
            time.sleep(0.1)
