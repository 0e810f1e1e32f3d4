"""Plain HTTP to Elasticsearch: one connection for many requests, a new one where the server ended it, credentials, paths."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from sparcode_es.engines.elasticsearch.connection import ConnectionConfig, Server


class Kept:
    """A server that keeps connections open and remembers who asked what."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self.connections: set[Any] = set()
        self.close_after = False
        kept = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                kept.asked.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                kept.connections.add(self.client_address)
                found = self.path.startswith("/base/there") or self.command != "HEAD"
                self.send_response(200 if found else 404)
                self.send_header("x-elastic-product", "Elasticsearch")
                content = b"" if self.command == "HEAD" else b'{"ok": true}'
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
                # Without a word about it: the client only finds the connection ended.
                self.close_connection = kept.close_after

            do_GET = do_POST = do_HEAD = answer

            def log_message(self, *arguments: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}/base"


@pytest.fixture
def kept() -> Iterator[Kept]:
    server = Kept()
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.http.shutdown()
    thread.join()
    server.http.server_close()


def test_one_connection_for_many_requests(kept: Kept) -> None:
    server = Server(ConnectionConfig(url=kept.url), attempts=1)
    for _ in range(5):
        assert server.call("POST", "/x/_search", {"size": 1}, params={"a": "b,c*", "d": False}) == {"ok": True}
    server.close()
    assert len(kept.connections) == 1
    method, path, headers, body = kept.asked[0]
    assert (method, path, body) == ("POST", "/base/x/_search?a=b,c*&d=false", b'{"size":1}')
    assert headers["content-type"] == "application/json"
    assert "authorization" not in headers


def test_a_connection_that_the_server_ended_is_not_used_again(kept: Kept) -> None:
    kept.close_after = True
    server = Server(ConnectionConfig(url=kept.url), attempts=2, pause=0.001)
    for _ in range(3):
        assert server.call("GET", "/") == {"ok": True}
    server.close()
    assert len(kept.connections) == 3


def test_credentials_lines_and_heads(kept: Kept) -> None:
    url = kept.url.replace("http://", "http://j%40o:s%3Acret@")
    for options in ({"url": url}, {"url": kept.url, "username": "j@o", "password": "s:cret"}):
        server = Server(ConnectionConfig(**options))  # type: ignore[arg-type]
        server.call("POST", "/_bulk", b"{}\n")
        assert server.exists("/there")
        assert not server.exists("/elsewhere")
        server.close()
        assert kept.asked[-3][2]["authorization"] == "Basic akBvOnM6Y3JldA=="
        assert kept.asked[-3][2]["content-type"] == "application/x-ndjson"
    server = Server(ConnectionConfig(url=kept.url, api_key="a2V5"))
    server.call("GET", "/")
    server.close()
    assert kept.asked[-1][2]["authorization"] == "ApiKey a2V5"


def test_threads_have_connections_of_their_own(kept: Kept) -> None:
    server = Server(ConnectionConfig(url=kept.url), attempts=1)
    together = threading.Barrier(4)
    answers: list[Any] = []

    def ask() -> None:
        together.wait()
        answers.extend(server.call("GET", f"/{number}") for number in range(20))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    server.close()
    assert answers == [{"ok": True}] * 80
    assert len(kept.connections) <= 4
