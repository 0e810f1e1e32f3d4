"""The query log: what it says of a request and what never, how it waits, drops and fails, and its file."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import sparcode_es_mappings
from click.testing import CliRunner
from sparcode_es_cli.main import cli, main

from serving.small_world import FakeServer
from sparcode_es import AsyncRecommender, Limits, LogOptions, QueryLog, Recommender
from sparcode_es.errors import ConfigError, EngineUnavailableError, StorageError
from sparcode_es.postings.artifact import Artifact
from sparcode_es.serving.log import LogCounts
from sparcode_es.serving.log_file import FileSink

FIELDS = set(sparcode_es_mappings.load("queries")["template"]["mappings"]["properties"])
KEY = b"sixteen bytes or more"
PLAIN = LogOptions(users="id", items=3)


class Kept:
    """A sink in memory, that waits before it writes while `open` is not set, and raises what it is told."""

    where = "memory"

    def __init__(self) -> None:
        self.batches: list[list[dict[str, Any]]] = []
        self.open, self.begun, self.closed = threading.Event(), threading.Event(), False
        self.open.set()
        self.error: Exception | None = None
        self.refused: list[str] = []

    def write(self, documents: Sequence[bytes]) -> list[str]:
        self.begun.set()
        assert self.open.wait(30)
        if self.error is not None:
            raise self.error
        self.batches.append([json.loads(document) for document in documents])
        return self.refused

    def close(self) -> None:
        self.closed = True

    @property
    def documents(self) -> list[dict[str, Any]]:
        return [document for batch in self.batches for document in batch]


Logged = Callable[[Callable[[Recommender], object]], list[dict[str, Any]]]


@pytest.fixture
def logged(artifact: Artifact) -> Logged:
    """What is logged of some calls of a recommender on the artifact."""

    def call(act: Callable[[Recommender], object], **options: Any) -> list[dict[str, Any]]:
        sink = Kept()
        with Recommender.from_artifact(artifact.path, log=QueryLog(sink, PLAIN), **options) as recommender:
            act(recommender)
        assert sink.closed
        for document in sink.documents:
            assert document.keys() <= FIELDS
        return sink.documents

    return call


def test_a_request_is_one_document(logged: Logged, artifact: Artifact) -> None:
    answer: list[Any] = []
    options: dict[str, Any] = {"k": 4, "page": 2, "filter": {"genre": "Drama"}}
    (found,) = logged(lambda r: answer.append(r.recommend("user 3", **options)))
    assert found.pop("@timestamp").endswith("+00:00")
    whole, engine = found.pop("whole_ms"), found.pop("engine_ms")
    assert 0 < engine <= whole
    assert found == {
        "engine": "embedded",
        "index": "postings",
        "batch": 1,
        "asked": "user",
        "user": "user 3",
        "k": 4,
        "page": 2,
        "filtered": True,
        "codes": 3,
        "hits": 4,
        "empty": False,
        "source": "codes",
        "fallback": False,
        "generation": artifact.generation_hash,
        "items": [item.id for item in answer[0]][:3],
    }


def test_many_at_once_share_their_times(logged: Logged) -> None:
    found = logged(lambda r: r.recommend_many(["user 0", "nobody", "user 1"]))
    assert [each["batch"] for each in found] == [3, 3, 3]
    assert len({each["whole_ms"] for each in found}) == 1
    assert [(each["user"], each["fallback"], each.get("why")) for each in found] == [
        ("user 0", False, None),
        ("nobody", True, "NotFoundError"),
        ("user 1", False, None),
    ]
    assert "engine_ms" not in found[1]


def test_what_is_raised_is_logged_too(artifact: Artifact) -> None:
    sink = Kept()
    with Recommender.from_artifact(artifact.path, fallback=False, log=QueryLog(sink, PLAIN)) as recommender:
        with pytest.raises(Exception, match="nobody"):
            recommender.recommend("nobody")
        with pytest.raises(ConfigError):
            recommender.recommend(history=["a secret"])
    first, second = sink.documents
    assert (first["source"], first["why"], first["empty"], first["hits"]) == ("error", "NotFoundError", True, 0)
    assert (second["asked"], second["why"], "user" in second) == ("history", "ConfigError", False)


def test_no_filter_no_title_no_words_of_an_error(logged: Logged) -> None:
    text = json.dumps(
        logged(lambda r: [r.recommend("user 1", filter={"genre": "Drama"}), r.recommend("no such person")])
    )
    assert not any(word in text for word in ("Drama", "dark", "no user", "history"))


def test_a_history_names_nobody(fake: FakeServer) -> None:
    sink = Kept()
    recommender = Recommender.from_elasticsearch(fake.url, "recs", log=QueryLog(sink, PLAIN))
    with recommender, pytest.raises(ConfigError):
        recommender.recommend(history=["a1", "b2"])
    assert "user" not in sink.documents[0]
    assert "a1" not in json.dumps(sink.documents)


def test_an_engine_that_is_down(fake: FakeServer) -> None:
    sink, limits = Kept(), Limits(1.0, 2.0, attempts=1)
    with Recommender.from_elasticsearch(fake.url, "recs", limits=limits, log=QueryLog(sink, PLAIN)) as recommender:
        fake.always = lambda path: 503
        assert recommender.recommend("user 1").source == "popular"
    (found,) = sink.documents
    assert (found["engine"], found["index"]) == ("elasticsearch", "recs")
    assert (found["source"], found["why"]) == ("popular", "EngineUnavailableError")


def test_asynchronous_callers_log_alike(fake: FakeServer) -> None:
    pytest.importorskip("aiohttp")
    sink = Kept()

    async def ask() -> None:
        async with AsyncRecommender.from_elasticsearch(fake.url, "recs", log=QueryLog(sink, PLAIN)) as recommender:
            await asyncio.gather(*(recommender.recommend(f"user {u}") for u in range(5)))

    asyncio.run(ask())
    assert sorted(each["user"] for each in sink.documents) == [f"user {u}" for u in range(5)]


def test_users_are_hashed_with_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPARCODE_LOG_KEY", raising=False)
    with pytest.raises(ConfigError, match="SPARCODE_LOG_KEY"):
        LogOptions()
    monkeypatch.setenv("SPARCODE_LOG_KEY", "short")
    with pytest.raises(ConfigError):
        LogOptions()
    monkeypatch.setenv("SPARCODE_LOG_KEY", KEY.decode())
    logs = [QueryLog(Kept(), each) for each in (LogOptions(), LogOptions(key=KEY), LogOptions(key=KEY * 2))]
    one, same, other = (log.user("user 3") for log in logs)
    assert one == same != other
    assert one is not None
    assert len(one) == 32
    assert "sixteen" not in repr(LogOptions(key=KEY))
    nobody = QueryLog(Kept(), LogOptions(users="none"))
    assert nobody.user("user 3") is None
    for log in (*logs, nobody):
        log.close()


def test_ids_that_are_no_unicode() -> None:
    sink = Kept()
    log = QueryLog(sink, PLAIN)
    log.add([{"user": log.user("\ud800x")}])
    assert log.close() == LogCounts(written=1)
    assert sink.documents == [{"user": "?x"}]


@pytest.mark.parametrize("wrong", [{"users": "all"}, {"items": -1}, {"seconds": 0}, {"batch": 0}, {"capacity": 1}])
def test_options_that_do_not_fit(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        LogOptions(**{"users": "id", **wrong})


def test_a_full_queue_drops_and_counts_and_does_not_wait() -> None:
    sink = Kept()
    sink.open.clear()
    log = QueryLog(sink, LogOptions(users="id", batch=2, capacity=4))
    log.add([{"n": 0}, {"n": 1}])
    assert sink.begun.wait(30)
    log.add([{"n": n} for n in range(2, 10)])
    assert log.counts == LogCounts(dropped=4)
    sink.open.set()
    assert log.close() == LogCounts(written=6, dropped=4)
    assert [len(batch) for batch in sink.batches] == [2, 2, 2]
    log.add([{"n": 10}])
    assert log.counts.dropped == 5


def test_a_batch_goes_when_it_is_full_or_has_waited() -> None:
    sink = Kept()
    log = QueryLog(sink, LogOptions(users="id", batch=100, seconds=0.01))
    log.add([{"n": 0}])
    assert sink.begun.wait(30)
    assert log.close().written == 1


def test_a_log_that_cannot_be_written_says_so_once(caplog: pytest.LogCaptureFixture, artifact: Artifact) -> None:
    sink = Kept()
    sink.error = EngineUnavailableError("it is away")
    log = QueryLog(sink, LogOptions(users="id", batch=1))
    with Recommender.from_artifact(artifact.path, log=log) as recommender:
        assert all(recommender.recommend("user 1").items for _ in range(5))
    assert log.counts == LogCounts(lost=5)
    (record,) = caplog.records
    assert record.getMessage() == "the query log memory cannot be written: it is away"


def test_single_documents_that_are_refused() -> None:
    sink = Kept()
    sink.refused = ["too long"]
    log = QueryLog(sink, LogOptions(users="id"))
    log.add([{"n": 0}, {"n": 1}])
    assert log.close() == LogCounts(written=1, lost=1)


def test_closing_does_not_wait_for_ever(caplog: pytest.LogCaptureFixture) -> None:
    sink = Kept()
    sink.open.clear()
    log = QueryLog(sink, LogOptions(users="id", batch=1, capacity=3))
    log.add([{"n": 0}])
    assert sink.begun.wait(30)
    log.add([{"n": 1}, {"n": 2}])
    assert log.close(seconds=0.01).lost == 2
    assert "2 documents were not written" in caplog.text
    sink.open.set()


def test_a_file_is_rotated_by_size(tmp_path: Path) -> None:
    sink = FileSink(tmp_path / "logs" / "queries.jsonl", largest=25, kept=2)
    for n in range(7):
        assert sink.write([b'{"n": %d}' % n, b'{"m": %d}' % n]) == []
    kept = [tmp_path / "logs" / name for name in ("queries.jsonl", "queries.jsonl.1", "queries.jsonl.2")]
    assert sorted(kept[0].parent.iterdir()) == kept
    assert [file.read_text() for file in kept] == [f'{{"n": {n}}}\n{{"m": {n}}}\n' for n in (6, 5, 4)]
    assert all(file.stat().st_mode & 0o777 == 0o600 for file in kept)
    with pytest.raises(StorageError):
        FileSink(tmp_path / "logs").write([b"{}"])
    with pytest.raises(ConfigError):
        FileSink(tmp_path / "x", kept=0)


def test_query_logs_to_a_file(artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPARCODE_LOG_KEY", KEY.decode())
    flags = ["query", "--postings", str(artifact.path), "--user", "user 3", "-k", "2"]
    for more in (["--log"], ["--log", "--log-items", "1"], ["--log-file", "mine.jsonl", "--log-users", "id"], []):
        done = CliRunner().invoke(cli, [*flags, *more])
        assert done.exit_code == 0, done.output
    first, second = map(json.loads, (tmp_path / "runs/queries.jsonl").read_text().splitlines())
    assert first["user"] == second["user"] != "user 3"
    assert (len(second["items"]), "items" in first) == (1, False)
    assert json.loads((tmp_path / "mine.jsonl").read_text())["user"] == "user 3"


def test_query_without_a_key(artifact: Artifact, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.delenv("SPARCODE_LOG_KEY", raising=False)
    with pytest.raises(SystemExit) as ended:
        main(["query", "--postings", str(artifact.path), "--user", "user 3", "--log"])
    assert ended.value.code == 3
    assert "SPARCODE_LOG_KEY" in capsys.readouterr().err


def test_metrics_count_the_log(artifact: Artifact) -> None:
    pytest.importorskip("fastapi")
    from sparcode_es.serving.service import make_app

    sink = Kept()
    log = QueryLog(sink, LogOptions(users="id"))
    with Recommender.from_artifact(artifact.path, log=log) as recommender:
        app = make_app(recommender)
        recommender.recommend("user 1")
    (route,) = [each for each in app.routes if getattr(each, "path", "") == "/metrics"]
    text = asyncio.run(route.endpoint()).body.decode()  # type: ignore[attr-defined]
    assert 'sparcode_query_log_total{outcome="written"} 1.0' in text
    assert 'sparcode_query_log_total{outcome="lost"} 0.0' in text
