"""The requests for Dev Tools, taken out of the text as the console does and sent to real servers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from click.testing import CliRunner
from sparcode_es_cli.main import cli

from engines.shelf import make_shelf
from sparcode_es.engines.base import Query
from sparcode_es.engines.elasticsearch import query_log
from sparcode_es.engines.elasticsearch.connection import ConnectionConfig, Server
from sparcode_es.engines.elasticsearch.engine import ElasticsearchEngine
from sparcode_es.engines.elasticsearch.generations import delete
from sparcode_es.engines.elasticsearch.index import IndexOptions, index
from sparcode_es.engines.elasticsearch.layout import live_generation
from sparcode_es.errors import NotFoundError
from sparcode_es.kibana.snippets import Snippet, snippets
from sparcode_es.postings.artifact import Artifact
from sparcode_es.postings.profile import Profiler

pytestmark = [pytest.mark.slow, pytest.mark.elasticsearch]
ALIAS, USER = "odd_na.me-2", "user 3"
REQUEST = re.compile(r"^# (.+)\nGET (\S+)\n(\{\n(?:.*\n)*?\}\n)", re.MULTILINE)


@dataclass(frozen=True)
class World:
    server: Server
    url: str
    artifact: Artifact
    generation: str

    @property
    def engine(self) -> ElasticsearchEngine:
        return ElasticsearchEngine(self.server, ALIAS)

    def answers(self, text: str) -> list[list[dict[str, Any]]]:
        """The hits of each request in a text."""
        found = REQUEST.findall(text)
        assert "\n".join(f"# {what}\nGET {path}\n{body}" for what, path, body in found) == text
        return [self.server.call("POST", f"/{path}", json.loads(body))["hits"]["hits"] for _, path, body in found]


@pytest.fixture(scope="module", params=["elasticsearch_7", "elasticsearch_9"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    url = request.getfixturevalue(request.param).url
    server, artifact = Server(ConnectionConfig(url=url)), make_shelf(tmp_path_factory.mktemp("snippets") / "postings")
    generation = index(server, artifact, IndexOptions(ALIAS), lambda what, more, total: None).generation
    log = query_log.create(server, ALIAS)
    entry = b'{"@timestamp":"2026-01-01T00:00:0%d.000Z","user":"user 3","k":%d}'
    assert query_log.ElasticsearchSink(server, ALIAS).write([entry % (n, n) for n in (1, 3, 2)]) == []
    server.call("POST", f"/{log.name}/_refresh")
    yield World(server, url, artifact, generation)
    delete(server, ALIAS, live_generation(server, ALIAS) or "")
    server.close()


def test_each_request_answers_what_it_says(world: World) -> None:
    flags = ["kibana", "snippets", "--index", ALIAS, "--url", world.url, "--user", USER]
    done = CliRunner().invoke(cli, flags)
    assert done.exit_code == 0, done.exception
    listed = json.loads(CliRunner().invoke(cli, [*flags, "--json"]).stdout)
    assert "\n".join(Snippet(**each).text() for each in listed) == done.stdout
    code, top, codes, recommended, explained, latest, generations = world.answers(done.stdout)
    clauses = world.engine.user(USER).clauses
    heaviest = max(clauses, key=lambda each: each.boost).term
    (profile,) = (each for each in Profiler(world.artifact).profiles() if each.code == heaviest)
    assert [hit["_source"]["code"] for hit in code] == [heaviest]
    best = [(each.item, each.score) for each in profile.top_items]
    assert [(hit["_source"]["item"], hit["_score"]) for hit in top] == best
    (entry,) = codes
    assert entry["_source"]["codes"] == [{"term": each.term, "boost": each.boost} for each in clauses]
    expected = world.engine.search(Query(clauses, k=10))
    assert [(hit["_source"]["item"], hit["_score"]) for hit in recommended] == [
        (hit.item, hit.score) for hit in expected
    ]
    (why,) = explained
    assert (why["_source"]["item"], why["_score"]) == (expected[0].item, expected[0].score)
    assert why["_explanation"]["value"] == pytest.approx(why["_score"])
    given = [each.term for each in world.engine.explain(Query(clauses, k=10), expected[0].item)]
    said = json.dumps(why["_explanation"])
    assert all(re.search(rf"\b{re.escape(term)}\b", said) for term in given)
    assert [hit["_source"]["k"] for hit in latest] == [3, 2, 1]
    assert [(hit["_source"]["generation"], hit["_source"]["live"]) for hit in generations] == [(world.generation, True)]


def test_an_item_and_a_code_that_are_named(world: World) -> None:
    item = world.engine.search(Query(world.engine.user(USER).clauses, k=5))[4].item
    text = "\n".join(each.text() for each in snippets(world.engine, USER, item, "3"))
    code, top, _, _, explained, _, _ = world.answers(text)
    assert [hit["_source"]["code"] for hit in code] == ["3"]
    assert len(top) == 10
    assert [hit["_source"]["item"] for hit in explained] == [item]


@pytest.mark.parametrize(("user", "said"), [("user 13", "has no codes"), ("nobody", "has no user")])
def test_users_without_codes(world: World, user: str, said: str) -> None:
    with pytest.raises(NotFoundError, match=said):
        snippets(world.engine, user)
