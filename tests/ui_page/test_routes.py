"""The page's routes on the embedded engine, and who may ask them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sparcode_es_cli.main import cli

from serving.small_world import FakeServer
from sparcode_es.engines.elasticsearch.connection import ConnectionConfig, Server
from sparcode_es.errors import ConfigError
from sparcode_es.postings.artifact import Artifact
from sparcode_es.ui.compare import compare
from sparcode_es.ui.guard import Hosts
from sparcode_es.ui.places import ArtifactPlaces, IndexPlaces
from ui_page.page_world import HOSTILE, build, maker, page_of

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # starlette deprecates the client library that it uses itself
    from fastapi.testclient import TestClient

HERE = "http://127.0.0.1:8001"


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> list[Artifact]:
    folder = tmp_path_factory.mktemp("page")
    return [build(folder / "one"), build(folder / "two", seed=1)]


@pytest.fixture(scope="module")
def client(artifacts: list[Artifact]) -> Any:
    return TestClient(page_of(ArtifactPlaces(artifacts, maker(artifacts[0]))), base_url=HERE)


def test_about_and_what_a_box_suggests(client: Any, artifacts: list[Artifact]) -> None:
    about = client.get("/api/about").json()
    assert [each["key"] for each in about["places"]] == [str(each.path) for each in artifacts]
    assert (about["attributes"], about["histories"]) == (["genre", "year"], True)
    assert client.get("/api/users", params={"q": "u2"}).json()["users"][:3] == ["u2", "u20", "u21"]
    found = client.get("/api/items", params={"q": "star war"}).json()["items"]
    assert [each["title"] for each in found] == [HOSTILE[2]]
    assert client.get("/api/values", params={"name": "genre"}).json()["values"] == ["<i>x</i>", "Drama", "War"]
    assert client.get("/api/values", params={"name": "none"}).json()["values"] == []
    assert client.get("/api/code", params={"term": "3"}).json()["top_items"]
    assert "no code" in client.get("/api/code", params={"term": "zzz"}).json()["error"]


@pytest.mark.parametrize("boost", [{}, {"genre": {"War": 2.5}}])
def test_an_answer_adds_up(client: Any, boost: dict[str, Any]) -> None:
    body = {"user": "u3", "exclude_seen": True, "boost": boost}
    left = client.post("/api/answer", json=body).json()["left"]
    assert (left["source"], len(left["items"]), left["seen"]) == ("codes", 10, 6)
    for item in left["items"]:
        total = 0.0
        for part in item["parts"]:
            assert part["value"] == part["boost"] * part["score"]
            total += part["value"]
        assert total == item["total"]
        assert item["score"] == item["total"] * item["weight"]
        told = client.post("/api/why", json={**body, "item": item["id"]}).json()
        assert (told["score"], told["total"], told["recommended"]) == (item["score"], item["total"], True)
    assert sum(code["share"] for code in left["codes"]) == pytest.approx(1)


def test_why_not(client: Any) -> None:
    body = {"user": "u3", "exclude_seen": True, "filter": {"genre": {"all": ["War"]}, "year": {"gte": 1985}}}
    listed = {item["id"] for item in client.post("/api/answer", json=body).json()["left"]["items"]}
    assert listed
    told = client.post("/api/why", json={**body, "item": "i4"}).json()
    assert not told["recommended"]
    assert any("genre=War" in sentence for sentence in told["verdict"])
    assert client.post("/api/why", json={**body, "item": "nothing"}).json()["known"] is False
    assert client.post("/api/why", json={"user": "nobody", "item": "i4"}).status_code == 404


def test_somebody_unknown_and_a_history(client: Any) -> None:
    left = client.post("/api/answer", json={"user": "nobody"}).json()["left"]
    assert (left["source"], left["codes"]) == ("popular", [])
    assert "no user 'nobody'" in left["reason"]
    left = client.post("/api/answer", json={"history": ["i5", "i7"]}).json()["left"]
    assert [item["id"] for item in left["history"]] == ["i7", "i5"]
    assert left["source"] == "codes"


def test_two_places(client: Any, artifacts: list[Artifact]) -> None:
    body = {"user": "u3", "other": str(artifacts[1].path)}
    found = client.post("/api/answer", json=body).json()
    ids = [[item["id"] for item in found[side]["items"]] for side in ("left", "right")]
    assert found["comparison"]["shared"] == len(set(ids[0]) & set(ids[1])) < 10
    missing = client.post("/api/answer", json={**body, "other": "/etc"}).json()
    assert "not given an artifact" in missing["right"]["error"]
    assert missing["left"] == {**found["left"], "milliseconds": missing["left"]["milliseconds"]}


def test_comparison() -> None:
    found = compare(["a", "b", "c"], ["a", "c", "d", "e"])
    assert (found.shared, found.same_place, found.only_left, found.only_right) == (2, 1, 1, 2)
    assert (found.left, found.right) == ((1, None, 2), (1, 3, None, None))
    assert compare([], []).shared == 0


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"user": "u1", "colour": 1}, 422),
        ({"user": "u1", "filter": {"genre": []}}, 400),
        ({"user": ""}, 422),
    ],
)
def test_what_cannot_be_asked(client: Any, body: dict[str, Any], status: int) -> None:
    done = client.post("/api/answer", json=body)
    assert done.status_code == status
    assert done.json()["error"]


def test_only_this_page_may_ask(client: Any) -> None:
    done = client.get("/")
    assert done.status_code == 200
    policy = done.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert (
        "access-control-allow-origin" not in client.get("/api/about", headers={"origin": "http://evil.example"}).headers
    )
    assert client.get("/api/about", headers={"host": "evil.example:8001"}).status_code == 421
    assert client.get("/api/about", headers={"sec-fetch-site": "cross-site"}).status_code == 403
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert client.get("/", headers=link).status_code == 200
    assert client.post("/api/answer", content=b" " * 1_000_001).status_code == 413
    assert (
        client.post("/api/answer", content='{"user": "u1"}', headers={"content-type": "text/plain"}).status_code == 422
    )
    for path in ("/docs", "/openapi.json", "/../app.py", "/static/page.js"):
        assert client.get(path).status_code == 404


def test_hosts() -> None:
    local = Hosts("127.0.0.1", ["box.lan"])
    assert all(map(local.allow, ["localhost:80", "127.0.0.1", "[::1]:8001", "BOX.lan"]))
    assert not any(map(local.allow, ["", "evil.example", "127.0.0.1.evil.example", "192.168.0.1", "localhost.evil:80"]))
    everywhere = Hosts("0.0.0.0")
    assert everywhere.allow("192.168.0.1:8001")
    assert not everywhere.allow("evil.example")


def test_a_server_that_is_down_is_a_sentence(artifacts: list[Artifact]) -> None:
    fake = FakeServer(artifacts[0])
    server = Server(ConnectionConfig(url=fake.url), attempts=1)
    fake.always = lambda path: 503
    client = TestClient(page_of(IndexPlaces(server, "recs", [], maker(None)), histories=False), base_url=HERE)
    for done in (client.get("/api/about"), client.post("/api/answer", json={"user": "u1"})):
        assert done.status_code == 503
        assert "overloaded" in done.json()["error"]
    server.close()
    fake.close()


def test_the_command_refuses(artifacts: list[Artifact], tmp_path: Path) -> None:
    place = ["ui", "--postings", str(artifacts[0].path)]
    assert "no postings artifact" in str(CliRunner().invoke(cli, [*place, "--compare", str(tmp_path / "x")]).exception)
    error = CliRunner().invoke(cli, [*place, "--host", "192.0.2.1"]).exception
    assert isinstance(error, ConfigError)
    assert "cannot listen on 192.0.2.1" in str(error)
