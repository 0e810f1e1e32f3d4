"""An HTTP proxy before a real server that answers wrongly on purpose."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

Fault = int | str
"""A status that is answered in the server's place; "refused": so is every document of a bulk, with 429; "drop": the connection
is closed before the server is asked; "lost": after; "cut": in the middle of its answer."""
Policy = Callable[[str, str], Fault | None]
"""(method, path) → what happens to this request; None: nothing."""


class FaultProxy:
    """Listens on a port of its own for as long as the `with` block; `policy` may be changed at any time."""

    def __init__(self, url: str, policy: Policy = lambda method, path: None) -> None:
        self.target, self.policy = urlsplit(url).netloc, policy
        self.made: Counter[str] = Counter()
        """How often each fault was made."""
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05})

    def __enter__(self) -> FaultProxy:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def forward(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        """Ask the server behind."""
        connection = http.client.HTTPConnection(self.target, timeout=120)
        try:
            connection.request(method, path, body or None, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


def _handler(proxy: FaultProxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            fault = proxy.policy(self.command, self.path.partition("?")[0])
            if fault is not None:
                proxy.made[str(fault)] += 1
            if fault == "drop":
                self.close_connection = True
            elif fault == "refused":
                self.say(200, refused_documents(body))
            elif isinstance(fault, int):
                self.say(fault, json.dumps({"error": {"type": "made_up", "reason": "by the proxy"}}).encode())
            else:
                headers = {key: value for key, value in self.headers.items() if key.lower() in PASSED}
                status, answer = proxy.forward(self.command, self.path, headers, body)
                if fault == "lost":
                    self.close_connection = True
                else:
                    self.say(status, answer, cut=fault == "cut")

        def say(self, status: int, body: bytes, cut: bool = False) -> None:
            self.send_response(status)
            self.send_header("x-elastic-product", "Elasticsearch")
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body[: len(body) // 2] if cut else body)
            self.close_connection = self.close_connection or cut

        do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = pass_on

        def log_message(self, *arguments: Any) -> None:
            pass

    return Handler


PASSED = {"accept", "content-type", "authorization"}


def refused_documents(body: bytes) -> bytes:
    """What Elasticsearch says when the queue of writes is full: status 200, and 429 a document."""
    error = {"type": "es_rejected_execution_exception", "reason": "rejected by the proxy"}
    rows = [{"index": {"status": 429, "error": error}} for _ in range(body.count(b"\n") // 2)]
    return json.dumps({"errors": True, "items": rows}).encode()


def bulks_for(seconds: float, faults: tuple[Fault, ...]) -> Policy:
    """Every bulk request gets one of `faults` after the other, until `seconds` after the first of them."""
    begun: list[float] = []
    lock = threading.Lock()

    def policy(method: str, path: str) -> Fault | None:
        if not path.endswith("_bulk"):
            return None
        with lock:
            begun.append(time.monotonic())
            return faults[len(begun) % len(faults)] if begun[-1] - begun[0] < seconds else None

    return policy


def first_of_each(faults: tuple[Fault, ...]) -> Policy:
    """The first request of every method and path gets a fault, one of `faults` after the other."""
    known: set[tuple[str, str]] = set()
    lock = threading.Lock()

    def policy(method: str, path: str) -> Fault | None:
        with lock:
            if (method, path) in known:
                return None
            known.add((method, path))
            return faults[len(known) % len(faults)]

    return policy


def every(count: int, faults: tuple[Fault, ...]) -> Policy:
    """Every `count`-th request gets a fault, one of `faults` after the other."""
    asked: list[None] = []
    lock = threading.Lock()

    def policy(method: str, path: str) -> Fault | None:
        with lock:
            asked.append(None)
            number, rest = divmod(len(asked), count)
        return faults[number % len(faults)] if rest == 0 else None

    return policy
