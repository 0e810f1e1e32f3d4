"""The query log on real servers: a data stream where there are some, else an index behind an alias; 7.17.29's zip has none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sparcode_es_cli.main import cli

from serving.small_world import build
from sparcode_es import LogOptions, QueryLog, Recommender
from sparcode_es.engines.elasticsearch import query_log
from sparcode_es.engines.elasticsearch.connection import ConnectionConfig, Server
from sparcode_es.engines.elasticsearch.generations import delete, listed
from sparcode_es.engines.elasticsearch.index import IndexOptions, index
from sparcode_es.engines.elasticsearch.layout import live_generation, path_of
from sparcode_es.engines.elasticsearch.query_log import ALIAS, STREAM, ElasticsearchSink
from sparcode_es.errors import ConfigError, EngineError, NotFoundError
from sparcode_es.postings.artifact import Artifact
from sparcode_es.serving.log import LogCounts

pytestmark = [pytest.mark.slow, pytest.mark.elasticsearch]
NAME = "asked"
OPTIONS = LogOptions(users="id", items=2)


@dataclass(frozen=True)
class World:
    server: Server
    url: str
    artifact: Artifact
    kind: str
    """What this server's log is."""

    def logged(self, alias: str = NAME) -> list[dict[str, Any]]:
        self.server.call("POST", path_of(f"{alias}-queries", "_refresh"))
        body = {"size": 100, "sort": [{"@timestamp": "asc"}]}
        rows = self.server.call("POST", path_of(f"{alias}-queries", "_search"), body)["hits"]["hits"]
        return [row["_source"] for row in rows]

    def behind(self, alias: str = NAME) -> list[str]:
        found = self.server.call("GET", path_of(f"{alias}-queries", "_settings"), params={"expand_wildcards": "all"})
        return sorted(found)


@pytest.fixture(scope="module", params=[("elasticsearch_7", ALIAS), ("elasticsearch_9", STREAM)])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    node, kind = request.param
    url = request.getfixturevalue(node).url
    server, artifact = Server(ConnectionConfig(url=url)), build(tmp_path_factory.mktemp("asked") / "postings")
    index(server, artifact, IndexOptions(NAME), lambda what, more, total: None)
    yield World(server, url, artifact, kind)
    delete(server, NAME, live_generation(server, NAME) or "")
    server.close()


def test_requests_are_documents_that_can_be_searched(world: World) -> None:
    log = QueryLog.to_elasticsearch(world.url, NAME, OPTIONS)
    with Recommender.from_elasticsearch(world.url, NAME, log=log) as recommender:
        answer = recommender.recommend("user 3", k=4, filter={"genre": "Drama"})
        recommender.recommend_many(["user 0", "nobody"])
    assert log.counts == LogCounts(written=3)
    first, *_ = found = world.logged()
    assert sorted(each["user"] for each in found) == ["nobody", "user 0", "user 3"]
    assert (first["generation"], first["items"]) == (answer.generation, [item.id for item in answer][:2])
    assert first["filtered"]
    assert 0 < first["engine_ms"] <= first["whole_ms"]
    name, *others = world.behind()
    assert not others
    assert name.startswith(f".ds-{NAME}-queries-") if world.kind == STREAM else name == f"{NAME}-queries-000001"
    mapping = world.server.call("GET", path_of(name, "_mapping"))[name]["mappings"]
    assert mapping["dynamic"] == "strict"
    assert mapping["properties"]["whole_ms"]["type"] == "float"
    # The log is no generation of the index beside it.
    assert [each["generation"] for each in listed(world.server, NAME)] == [answer.generation]


def test_a_log_is_made_once(world: World) -> None:
    assert query_log.create(world.server, "twice") == query_log.Log("twice-queries", world.kind, True)
    assert query_log.create(world.server, "twice") == query_log.Log("twice-queries", world.kind, False)
    assert world.logged("twice") == []
    with pytest.raises(ConfigError):
        query_log.create(world.server, "twice-queries")


def test_an_index_that_stands_where_the_log_should_be(world: World) -> None:
    world.server.call("PUT", "/taken-queries")
    with pytest.raises(EngineError, match="is an index, where the query log should be"):
        query_log.create(world.server, "taken")
    log = QueryLog(ElasticsearchSink(world.server, "taken"), OPTIONS)
    log.add([{"k": 1}])
    assert log.close() == LogCounts(lost=1)
    world.server.call("DELETE", "/taken-queries")


def test_a_document_that_does_not_fit_is_lost_alone(world: World, caplog: pytest.LogCaptureFixture) -> None:
    log = QueryLog(ElasticsearchSink(world.server, "odd"), OPTIONS)
    log.add([{"@timestamp": 0, "k": 1}, {"@timestamp": 0, "title": "no such field"}, {"@timestamp": 0, "k": 2}])
    assert log.close() == LogCounts(written=2, lost=1)
    assert "refused a document (400)" in caplog.text
    assert [each["k"] for each in world.logged("odd")] == [1, 2]


def test_old_requests_are_deleted_index_by_index(world: World) -> None:
    with pytest.raises(NotFoundError, match="sparcode-es log create"):
        query_log.roll(world.server, "nowhere", 30)
    sink = ElasticsearchSink(world.server, "rolled")
    for n in range(3):
        sink.write([b'{"@timestamp":"2026-01-01T00:00:00Z","k":%d}' % n])
        world.server.call("POST", "/rolled-queries/_rollover")
    first, second, third, current = world.behind("rolled")
    assert query_log.roll(world.server, "rolled", 1) == []
    assert query_log.roll(world.server, "rolled", 0) == [first, second, third]
    assert world.behind("rolled") == [current]
    sink.write([b'{"@timestamp":"2026-01-01T00:00:00Z","k":9}'])
    assert [each["k"] for each in world.logged("rolled")] == [9]
    mapping = world.server.call("GET", path_of(current, "_mapping"))[current]["mappings"]
    assert mapping["dynamic"] == "strict"


def test_the_commands(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ES_URL", world.url)
    monkeypatch.setenv("SPARCODE_INDEX", NAME)
    monkeypatch.setenv("SPARCODE_LOG_KEY", "sixteen bytes or more")
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> str:
        done = CliRunner().invoke(cli, list(words))
        assert done.exit_code == 0, (done.output, done.exception)
        return done.stdout

    assert json.loads(run("log", "create", "--json"))["kind"] == world.kind
    before = len(world.logged())
    run("query", "--user", "user 5", "-k", "3", "--log")
    found = world.logged()
    assert len(found) == before + 1
    assert (found[-1]["k"], found[-1]["user"] != "user 5", found[-1]["hits"]) == (3, True, 3)
    assert run("log", "roll") == "nothing to remove\n"
    assert list(tmp_path.iterdir()) == []
