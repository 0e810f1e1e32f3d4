"""Faiss FlatIP behind HTTP, as a team would put it beside its own services: a server in a process of its own, JSON both ways.

    python benchmarks/retrieval/http_service.py vectors.npy

prints its port. `POST /` takes {"vector": [...], "k": 50} and answers {"items": ["B000000007", ...], "scores": [...]}.
"""

from __future__ import annotations

import contextlib
import http.client
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import orjson

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from retrieval.postings import item_id, number_of
from retrieval.recipe import World
from retrieval.systems import Ask, Queries, System
from sparcode_es.engines.faiss import FaissIndex


def handler(index: FaissIndex, names: list[str]) -> type[BaseHTTPRequestHandler]:
    """Answers from one index; connections stay open, and nothing waits for a full packet."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = 1 << 16

        def do_POST(self) -> None:
            asked = orjson.loads(self.rfile.read(int(self.headers["Content-Length"])))
            found, scores = index.search(np.array([asked["vector"]], dtype=np.float32), asked["k"])
            body = {"items": [names[item] for item in found[0].tolist() if item >= 0], "scores": scores[0].tolist()}
            content = orjson.dumps(body)
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_arguments: Any) -> None:
            """Nothing: a line a request would be timed."""

    return Handler


class Service(ThreadingHTTPServer):
    """A thread a connection, and room for many that come at once."""

    request_queue_size = 128
    daemon_threads = True


def serve(path: Path) -> None:
    """Serve the vectors float32 [I, D] in `path` until the process is ended; one Faiss thread a request."""
    import faiss

    faiss.omp_set_num_threads(1)
    vectors = np.load(path)
    server = Service(("127.0.0.1", 0), handler(FaissIndex(vectors), [item_id(item) for item in range(len(vectors))]))
    print(server.server_port, flush=True)
    server.serve_forever()


@contextlib.contextmanager
def flat_over_http(world: World, queries: Queries, folder: Path) -> Iterator[System]:
    """The service over the world's vectors, asked over connections that stay open; ended with the block."""
    np.save(folder / "vectors.npy", world.vectors)
    command = [sys.executable, str(Path(__file__).resolve()), str(folder / "vectors.npy")]
    with contextlib.ExitStack() as ends, subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        ends.callback(process.terminate)
        assert process.stdout is not None
        port = int(process.stdout.readline())

        def client() -> Callable[[Ask, int], list[Any]]:
            connection = ends.enter_context(contextlib.closing(http.client.HTTPConnection("127.0.0.1", port)))
            return lambda ask, user: [_ask(connection, queries, ask, user)]

        asks, name = ("bare", "k 10", "k 500"), "Faiss FlatIP over HTTP"
        try:
            yield System(name, "", "dense", client(), asks, {}, client, lambda found: map(number_of, found))
        finally:
            ends.close()


def _ask(connection: http.client.HTTPConnection, queries: Queries, ask: Ask, user: int) -> list[str]:
    body = orjson.dumps({"vector": queries.vectors[user].tolist(), "k": ask.k})
    connection.request("POST", "/", body, {"Content-Type": "application/json"})
    items: list[str] = orjson.loads(connection.getresponse().read())["items"]
    return items


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
