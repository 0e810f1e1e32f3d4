"""Uploading and generations: what a busy, failing or shared server may do to `index`. The server is a fake one."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sparcode_es.engines.elasticsearch import generations, runs
from sparcode_es.engines.elasticsearch.bulk import chunks, send, upload
from sparcode_es.engines.elasticsearch.connection import ConnectionConfig, Server, api_error
from sparcode_es.engines.elasticsearch.generations import remove_leftovers
from sparcode_es.engines.elasticsearch.index import fresh_suffix
from sparcode_es.engines.elasticsearch.layout import check_name
from sparcode_es.engines.elasticsearch.runs import Heartbeat, is_alive, owner
from sparcode_es.errors import ConfigError, EngineError, EngineUnavailableError, NotFoundError

ELSEWHERE = {"host": "elsewhere", "space": "another container", "pid": 1}


class Bulk:
    """Answers `_bulk`. `troubles`: what to do with the next requests, one each: an HTTP status, 0 (hang up), or item
    id → the status of that document. Then everything is taken."""

    def __init__(self) -> None:
        self.troubles: list[int | dict[str, int]] = []
        self.taken: list[list[str]] = []
        self.lock = threading.Lock()
        bulk = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                lines = self.rfile.read(int(self.headers["content-length"])).splitlines()
                ids = [json.loads(line)["index"]["_id"] for line in lines[::2]]
                with bulk.lock:
                    trouble = bulk.troubles.pop(0) if bulk.troubles else {}
                if trouble == 0:
                    self.close_connection = True
                    return
                if isinstance(trouble, int):
                    self.answer(trouble, {"error": {"type": "busy", "reason": "busy"}})
                    return
                rows = [{"index": bulk.row(trouble.get(name, 201))} for name in ids]
                with bulk.lock:
                    bulk.taken.append([name for name in ids if trouble.get(name, 201) == 201])
                self.answer(200, {"errors": bool(trouble), "items": rows})

            def answer(self, status: int, body: Any) -> None:
                raw = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("x-elastic-product", "Elasticsearch")
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *arguments: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"

    @staticmethod
    def row(status: int) -> dict[str, Any]:
        return {"status": status} if status == 201 else {"status": status, "error": {"type": "t", "reason": "no room"}}


@pytest.fixture
def bulk() -> Iterator[Bulk]:
    fake = Bulk()
    thread = threading.Thread(target=fake.http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield fake
    fake.http.shutdown()
    fake.http.server_close()
    thread.join()


@pytest.fixture
def server(bulk: Bulk) -> Iterator[Server]:
    opened = Server(ConnectionConfig(url=bulk.url), pause=0.001)
    yield opened
    opened.close()


DOCUMENTS = [(name, b"{}") for name in ("a", "b", "c")]


@pytest.mark.parametrize("trouble", [429, 502, 503, 0])
def test_a_chunk_that_was_not_taken_is_sent_again(bulk: Bulk, server: Server, trouble: int) -> None:
    bulk.troubles = [trouble, trouble]
    assert send(server, "i", DOCUMENTS) == 3
    assert bulk.taken == [["a", "b", "c"]]


def test_only_refused_documents_are_sent_again(bulk: Bulk, server: Server) -> None:
    bulk.troubles = [{"b": 429}, {"b": 429}]
    assert send(server, "i", DOCUMENTS) == 3
    assert bulk.taken == [["a", "c"], [], ["b"]]


@pytest.mark.parametrize("trouble", [429, 0, {"b": 429}])
def test_retries_end(bulk: Bulk, server: Server, trouble: int | dict[str, int]) -> None:
    bulk.troubles = [trouble] * 50
    with pytest.raises(EngineUnavailableError):
        send(server, "i", DOCUMENTS, attempts=3)


def test_a_document_refused_for_good_is_named(bulk: Bulk, server: Server) -> None:
    bulk.troubles = [{"b": 400}]
    with pytest.raises(EngineError, match=r"'b' \(400\): no room"):
        send(server, "i", DOCUMENTS)


def test_an_upload_is_whole_whatever_happens(bulk: Bulk, server: Server) -> None:
    bulk.troubles = [429, {"3": 429}, 0, {"17": 429, "5": 429}, 503]
    documents = ((str(i), b'{"pad":"' + b"x" * 300_000 + b'"}') for i in range(60))
    told: list[int] = []
    upload(server, "i", documents, told.append)
    assert sum(told) == 60
    assert sorted(int(name) for part in bulk.taken for name in part) == list(range(60))


def test_an_upload_ends_with_the_first_error(bulk: Bulk, server: Server) -> None:
    bulk.troubles = [{}, {str(i): 400 for i in range(60)}]
    with pytest.raises(EngineError, match="no room"):
        upload(server, "i", ((str(i), b" " * 400_000) for i in range(60)), lambda _: None)


def test_chunks() -> None:
    documents = [(str(i), b"x" * 10) for i in range(7)]
    assert [len(chunk) for chunk in chunks(iter(documents), 30)] == [3, 3, 1]
    assert list(chunks(iter([]))) == []


def test_who_is_alive() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    now = time.time()
    assert is_alive({**owner(), "beat": now})
    assert not is_alive({**owner(), "pid": child.pid, "beat": now}), "a dead process of this machine"
    for space in ({"space": "another container"}, {"space": None}):
        assert is_alive({**owner(), "pid": child.pid, "beat": now, **space}), (
            "not ours to see, whatever its host is called"
        )
    assert is_alive({**ELSEWHERE, "beat": now - 60})
    assert not is_alive({**ELSEWHERE, "beat": now - 121}), "no heartbeat for two minutes"
    assert is_alive({}) is False
    assert is_alive({**ELSEWHERE, "beat": now + 3600}) is None, "whose clock is wrong?"
    assert is_alive({**owner(), "pid": child.pid, "beat": now + 3600}) is False


def test_where_processes_cannot_be_told_apart_the_beat_alone_counts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(runs.sys, "platform", "linux")
    monkeypatch.setattr(runs, "BOOT", tmp_path / "none")
    assert owner()["space"] is None
    monkeypatch.setattr(runs, "runs_here", lambda pid: False)
    assert is_alive(owner())


@pytest.mark.parametrize("off", [-3600, 3600], ids=["behind", "ahead"])
@pytest.mark.parametrize("beats", [True, False])
def test_a_run_whose_clock_is_wrong_lives_when_its_heart_beats_on(
    off: int, beats: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = {**ELSEWHERE, "beat": int(time.time()) + off}
    fake = Indices({OLD: {"state": "ready"}, NEW: {"state": "loading", "owner": run}})
    monkeypatch.setattr(runs.time, "sleep", lambda seconds: run.update(beat=run["beat"] + beats))

    def copied(*arguments: Any, **options: Any) -> Any:
        return copy.deepcopy(Indices.call(fake, *arguments, **options))

    fake.call = copied  # type: ignore[method-assign]
    assert runs.loading_generations(fake, "n") == ([NEW] if beats else [])  # type: ignore[arg-type]


def test_an_alias_that_was_deleted_is_put_back() -> None:
    class Aliasless(Indices):
        def call(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
            if path.endswith("_alias") and "-2026" not in path:
                raise NotFoundError("no alias")
            return super().call(method, path, body, **options)

    fake = Aliasless({OLD: {"state": "ready"}, NEW: {"state": "ready"}})
    with pytest.raises(NotFoundError, match=f"rollback --to n-{NEW}` puts it back"):
        generations.rollback(fake, "n")  # type: ignore[arg-type]
    assert generations.rollback(fake, "n", f"n-{OLD}") == f"n-{OLD}"  # type: ignore[arg-type]
    assert fake.sent[:2] == [f"PUT /n-{NEW}/_mapping", "POST /_aliases"], "withdrawn, then moved"
    assert not any("_aliases" in each for each in fake.sent[2:])


def test_a_full_disk_is_called_one(bulk: Bulk, server: Server) -> None:
    full = {
        "type": "cluster_block_exception",
        "reason": "[TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage watermark]",
    }
    bulk.row = lambda status: {"status": 429, "error": full}  # type: ignore[method-assign]
    with pytest.raises(EngineUnavailableError, match="takes no writes now; free disk space"):
        send(server, "i", DOCUMENTS, attempts=2)
    for status in (403, 429):
        assert "free disk space" in str(api_error("here", status, {"error": full}))
    no_master = {"error": {"type": "cluster_block_exception", "reason": "[SERVICE_UNAVAILABLE/2/no master]"}}
    assert "not ready (503)" in str(api_error("here", 503, no_master))


def test_the_heart_beats_on_after_an_error() -> None:
    beats: list[float] = []

    def beat() -> None:
        beats.append(time.monotonic())
        if len(beats) == 1:
            raise EngineUnavailableError("busy")

    with Heartbeat(beat, seconds=0.01) as heart:
        time.sleep(0.3)
    count = len(beats)
    assert count >= 2
    assert isinstance(heart.last_error, EngineUnavailableError)
    time.sleep(0.05)
    assert len(beats) == count, "it goes on after the end"


class Indices:
    """Stands for a server that has the generations `metas`, the first of them live."""

    where = "fake"

    def __init__(self, metas: dict[str, dict[str, Any]]) -> None:
        self.metas, self.sent = {f"n-{suffix}": meta for suffix, meta in metas.items()}, []

    def call(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        if method != "GET":
            self.sent.append(f"{method} {path}")
            return {}
        if path.endswith("_alias"):
            return {next(iter(self.metas)): {}}
        return {name: {"mappings": {"_meta": meta}} for name, meta in self.metas.items()}


@pytest.mark.parametrize(
    ("taken", "stamp"),
    [
        ([], "20260102030405"),
        (["20260102030405-ffffffffffff"], "20260102030406"),
        (["20260102030405-ffffffffffff", "20260102030406-000000000000"], "20260102030407"),
        (["20270101000000-0123456789ab"], "20270101000001"),
        (["20260231235959-0123456789ab"], "20260304000000"),
    ],
    ids=["first", "the same second", "two in a second", "a clock set back", "no real day"],
)
def test_a_generation_sorts_behind_all_there_are(taken: list[str], stamp: str) -> None:
    artifact = SimpleNamespace(generation_hash="0123456789ab")
    now = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=timezone.utc)
    assert fresh_suffix(taken, artifact, now) == f"{stamp}-0123456789ab"  # type: ignore[arg-type]


OLD, NEW = "20260101000000-0123456789ab", "20260102000000-0123456789ab"


def test_another_run_is_not_disturbed() -> None:
    run = {**ELSEWHERE, "beat": time.time()}
    fake = Indices({OLD: {"state": "ready"}, NEW: {"state": "loading", "owner": run}})
    with pytest.raises(EngineError, match=f"another `index` is loading or updating n-{NEW}"):
        remove_leftovers(fake, "n")  # type: ignore[arg-type]
    assert fake.sent == []


def test_what_a_killed_run_left_is_deleted() -> None:
    fake = Indices({OLD: {"state": "ready"}, NEW: {"state": "loading"}})
    assert remove_leftovers(fake, "n") == [f"n-codes-{NEW}", f"n-users-{NEW}", f"n-{NEW}"]  # type: ignore[arg-type]
    assert fake.sent == [f"DELETE /n-codes-{NEW}", f"DELETE /n-users-{NEW}", f"DELETE /n-{NEW}"]


def test_killed_right_after_the_swap_the_live_generation_is_kept() -> None:
    fake = Indices({NEW: {"state": "loading"}, OLD: {"state": "ready"}})
    assert remove_leftovers(fake, "n") == []  # type: ignore[arg-type]
    assert fake.sent == [f"PUT /n-{NEW}/_mapping"]


@pytest.mark.parametrize("companion", ["users", "codes"])
def test_a_name_that_another_ones_companion_has(companion: str) -> None:
    with pytest.raises(ConfigError, match=f"{companion}.*of 'shop'"):
        check_name(f"shop-{companion}")
