"""The HTTP service, on the embedded engine and over a server with faults; its OpenAPI holds what it promises."""

from __future__ import annotations

import signal
import socket
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from sparcode_es_cli.main import cli, main

from serving.small_world import FakeServer
from sparcode_es import Limits, Recommender, __version__
from sparcode_es.codes import UserCodes
from sparcode_es.engines.node.process import free_port
from sparcode_es.errors import ConfigError, MissingExtraError
from sparcode_es.postings.artifact import Artifact
from sparcode_es.serving.crowd import Crowd

pytest.importorskip("fastapi")
pytest.importorskip("httpx")
pytest.importorskip("uvicorn")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # starlette deprecates the client library that it uses itself
    from fastapi.testclient import TestClient

from sparcode_es.serving.service import make_app


@pytest.fixture(scope="module")
def client(artifact: Artifact) -> Iterator[Any]:
    with Recommender.from_artifact(artifact.path) as recommender, TestClient(make_app(recommender)) as opened:
        yield opened


def test_recommend(client: Any, artifact: Artifact) -> None:
    options: dict[str, Any] = {"k": 4, "filter": {"genre": ["Drama"], "year": {"gte": 1985}}, "pin": {"2": "é76"}}
    done = client.post("/recommend", json={"user": "user 3", "explain": True, **options})
    assert done.status_code == 200
    wanted = Recommender.from_artifact(artifact.path).recommend(
        "user 3", **{**options, "pin": {2: "é76"}}, explain=True
    )
    found = done.json()
    assert (found["source"], found["generation"]) == ("codes", artifact.generation_hash)
    assert [(item["id"], item["score"]) for item in found["items"]] == [(item.id, item.score) for item in wanted]
    assert found["items"][1]["pinned"]
    given = sum(each["boost"] * each["score"] for each in found["items"][0]["reasons"])
    assert given == pytest.approx(found["items"][0]["score"])


@pytest.mark.parametrize(
    "wanted",
    [{"year": {"any": [1980, 1987]}}, {"rating": 0.25}, {"children": False}, {"price": [6, 7, 16, "free"]}],
)
def test_numbers_and_booleans_of_a_filter_are_what_an_item_has(
    client: Any, artifact: Artifact, wanted: dict[str, Any]
) -> None:
    """A whole number stays whole: "7" is what the index holds, not "7.0"."""
    found = client.post("/recommend", json={"user": "user 3", "k": 50, "filter": wanted}).json()["items"]
    expected = Recommender.from_artifact(artifact.path).recommend("user 3", k=50, filter=wanted)
    assert [item["id"] for item in found] == [item.id for item in expected]
    assert found


def test_explain_health_and_metrics(client: Any, artifact: Artifact) -> None:
    best = client.post("/recommend", json={"user": "user 0", "k": 1}).json()["items"][0]
    found = client.get("/explain", params={"user": "user 0", "item": best["id"]}).json()
    assert found["total"] == pytest.approx(best["score"])
    assert client.get("/explain", params={"user": "nobody", "item": "a1"}).status_code == 404
    missing = client.get("/explain", params={"user": "user 0", "item": "nope"})
    assert (missing.status_code, missing.json()) == (404, {"error": "the index has no item 'nope'"})
    without = client.get("/explain", params={"user": "user 0", "item": "é76"})
    assert (without.status_code, without.json()) == (200, {"reasons": [], "total": 0.0})
    assert client.post("/recommend", json={"user": "nobody"}).json()["source"] == "popular"
    assert client.get("/healthz").json() == {
        "engine": "embedded",
        "generation": artifact.generation_hash,
        "items": 80,
        "users": 12,
    }
    assert client.get("/livez").json() == {"version": __version__}
    text = client.get("/metrics").text
    assert 'sparcode_recommendations_total{source="popular"} 1.0' in text
    assert "sparcode_recommend_seconds_bucket" in text


class Encoder:
    """Knows the artifact's items; whoever had one gets code 3."""

    shared_heads = True

    def __init__(self, artifact: Artifact) -> None:
        self.item_ids, self.hashes = artifact.item_ids, (artifact.model_hash, artifact.codebook_hash)

    def __call__(self, items: Sequence[str]) -> UserCodes:
        assert set(items) <= set(self.item_ids)
        return UserCodes(np.array([0, 1], np.uint64), np.array([[0, 3]], np.uint32), np.ones(1, np.float32))


def test_the_answer_names_what_the_model_does_not_know_of_a_history(artifact: Artifact) -> None:
    known = artifact.item_ids[0]
    with Recommender.from_artifact(artifact.path, encoder=Encoder(artifact)) as recommender:
        client = TestClient(make_app(recommender))
        for history, source, unknown in (
            ([known, "zzz", known, "nope", "zzz"], "codes", ["zzz", "nope"]),
            ([known], "codes", []),
            (["zzz"], "popular", ["zzz"]),
        ):
            found = client.post("/recommend", json={"history": history}).json()
            assert (found["source"], found["unknown"]) == (source, unknown)
            assert list(recommender.recommend(history=history).unknown) == unknown


def test_a_history_without_an_encoder_names_the_flag(client: Any) -> None:
    assert "--encoder" in client.post("/recommend", json={"history": ["a1"]}).json()["error"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"user": "u", "history": ["a1"]}, 400),
        ({"history": ["a1"]}, 400),
        ({"user": "user 3", "filter": {"genre": []}}, 400),
        ({"user": "user 3", "text": {"words": "star"}}, 400),
        ({"user": "user 3", "k": 0}, 422),
        ({"user": "user 3", "colour": "red"}, 422),
        ({"user": "user 3", "filter": {"year": {"like": 1}}}, 422),
    ],
)
def test_what_cannot_be_asked(client: Any, body: dict[str, Any], status: int) -> None:
    done = client.post("/recommend", json=body)
    assert done.status_code == status
    assert status == 422 or done.json()["error"]


@pytest.mark.parametrize("kind", [None, "application/x-www-form-urlencoded"])
def test_a_body_without_the_header_of_json_is_told_of_it(client: Any, kind: str | None) -> None:
    """As `curl -d` sends it."""
    headers = {} if kind is None else {"content-type": kind}
    done = client.post("/recommend", content='{"user": "user 3"}', headers=headers)
    assert done.status_code == 422
    told = [each["msg"] for each in done.json()["detail"] if each["loc"] == ["header", "content-type"]]
    assert told == [f"the body is read with the header Content-Type: application/json, which was {kind or 'none'}"]
    wrong = client.post("/recommend", json={"user": "user 3", "k": 0}).json()["detail"]
    assert all(each["loc"] != ["header", "content-type"] for each in wrong)


def test_a_server_that_is_down(artifact: Artifact) -> None:
    fake = FakeServer(artifact)
    limits = Limits(timeout=5, budget=10, attempts=2, pause=0.001)
    with Recommender.from_elasticsearch(fake.url, "recs", limits=limits) as recommender:
        recommender.warm()
        client = TestClient(make_app(recommender))
        assert client.get("/healthz").status_code == 200
        fake.always = lambda path: 503
        assert client.get("/healthz").status_code == 503
        assert client.get("/livez").status_code == 200
        found = client.post("/recommend", json={"user": "user 3", "k": 2}).json()
        assert (found["source"], len(found["items"])) == ("popular", 2)
        assert "overloaded" in found["reason"]
    fake.close()


def test_health_without_an_alias_is_the_fault_of_the_engine(artifact: Artifact) -> None:
    """As of a server that is down; 404 would be who asks."""
    fake = FakeServer(artifact)
    fake.always = lambda path: 404
    with Recommender.from_elasticsearch(fake.url, "recs", limits=Limits(timeout=5, budget=10)) as recommender:
        answer = TestClient(make_app(recommender)).get("/healthz")
    assert answer.status_code == 503
    assert "recs" in answer.json()["error"]
    fake.close()


def test_a_service_that_starts_while_the_server_is_down(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """It answers popular items of the artifact, and the codes' as soon as the server is there; without an artifact it does not
    start."""
    fake = FakeServer(artifact)
    fake.always = lambda path: 503
    found: list[dict[str, Any]] = []
    asked = {"user": "user 3", "k": 2}

    def used(config: Any) -> Any:
        client = TestClient(config.app)
        found.append(client.post("/recommend", json=asked).json())
        fake.always = lambda path: None
        found.append(client.post("/recommend", json=asked).json())
        return SimpleNamespace(run=lambda sockets: None)

    monkeypatch.setattr("uvicorn.Server", used)
    flags = ["serve", "--url", fake.url, "--index", "recs", "--port", str(free_port()), "--timeout", "1"]
    with pytest.raises(SystemExit) as ended:
        main([*flags, "--postings", str(artifact.path)])
    assert ended.value.code == 0
    assert f"Until it answers, popular items of {artifact.path}: http://127.0.0.1:" in capsys.readouterr().err
    assert [(each["source"], len(each["items"])) for each in found] == [("popular", 2), ("codes", 2)]
    fake.always = lambda path: 503
    with pytest.raises(SystemExit) as ended:
        main([*flags, "--postings", str(tmp_path / "none")])
    assert ended.value.code == 8
    assert "no popular items to begin with either" in capsys.readouterr().err
    fake.close()


@pytest.mark.parametrize("command", ["serve", "ui"])
def test_the_commands_let_one_request_take_half_of_the_budget(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """With the connection's own 30 s a copy that hangs would leave no time to ask another."""
    given: list[Limits] = []

    def keep(engine: Any, limits: Limits, **options: Any) -> Any:
        given.append(limits)
        raise ConfigError("enough")

    monkeypatch.setattr(Recommender, "for_engine", keep)
    arguments = [command, "--postings", str(artifact.path), "--budget", "3", "--port", str(free_port())]
    assert "enough" in str(CliRunner().invoke(cli, arguments).exception)
    assert [(each.budget, each.longest) for each in given] == [(3.0, 1.5)]


def test_the_bounds_of_the_service_are_flags(artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[Any] = []
    monkeypatch.setattr("sparcode_es.serving.service.make_app", lambda recommender, crowd: found.append(crowd))
    monkeypatch.setattr("uvicorn.Config", lambda app, **options: None)
    monkeypatch.setattr("uvicorn.Server", lambda config: SimpleNamespace(run=lambda sockets: None))
    serve = ["serve", "--postings", str(artifact.path), "--port", str(free_port())]
    for bounds in (["--most", "5", "--max-connections", "6", "--max-body", "7"], []):
        assert CliRunner().invoke(cli, [*serve, *bounds]).exit_code == 0
    assert found == [Crowd(5, 6, most_bytes=7), Crowd()]


def test_what_waits_for_the_query_log_is_written_when_sigterm_ends_the_service(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As docker, systemd and Kubernetes end it."""
    closed: list[bool] = []

    async def terminated(server: Any) -> None:
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr("uvicorn.Server.main_loop", terminated)
    monkeypatch.setattr(Recommender, "close", lambda self: closed.append(True))
    with pytest.raises(SystemExit) as ended:
        main(["serve", "--postings", str(artifact.path), "--port", str(free_port())])
    assert (ended.value.code, closed) == (143, [True])
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.parametrize("command", ["serve", "ui"])
def test_the_commands_say_what_answers_and_where_and_an_interrupt_ends_them(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    sockets: list[Any] = []
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    async def interrupted(server: Any) -> None:
        """In place of the loop that waits for a signal."""
        sockets.extend(server.servers[0].sockets)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("uvicorn.Server.main_loop", interrupted)
    port = free_port()
    with pytest.raises(SystemExit) as ended:
        main([command, "--postings", str(artifact.path), "--port", str(port)])
    signal.signal(signal.SIGINT, before)
    assert (ended.value.code, len(sockets)) == (130, 1)
    said = [f"embedded ({artifact.path}): http://127.0.0.1:{port}/", "", "interrupted"]
    assert capsys.readouterr().err.splitlines() == said


def test_a_port_that_is_taken_is_named_before_the_engine_is_opened() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        error = CliRunner().invoke(cli, ["serve", "--postings", "none", "--port", str(port)]).exception
    assert isinstance(error, ConfigError)
    assert f"cannot listen on 127.0.0.1, port {port}: Address already in use" in str(error)
    assert "give another --port" in str(error)


@pytest.mark.slow
def test_the_openapi_holds(client: Any) -> None:
    """No request, well formed or not, is answered otherwise than the description says, and none with a 500."""
    schemathesis = pytest.importorskip("schemathesis")
    from schemathesis.specs.openapi.checks import positive_data_acceptance

    for found in schemathesis.openapi.from_asgi("/openapi.json", client.app).get_all_operations():
        operation = found.ok()

        @settings(max_examples=60, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy())
        def answered_as_described(case: Any) -> None:
            # A user or a history, and k × page: rules between fields are not in the description; they are refused with 400.
            case.call_and_validate(excluded_checks=[positive_data_acceptance])

        answered_as_described()


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    error = CliRunner().invoke(cli, ["serve"]).exception
    assert isinstance(error, MissingExtraError)
    assert "sparcode-es[serve]" in str(error)
