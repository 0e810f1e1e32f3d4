"""What the Elasticsearch engine does beyond the contract, on real servers."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import pytest

from sparcode_es.engines.base import Clause, Query
from sparcode_es.engines.conditions import parse_filter
from sparcode_es.engines.elasticsearch.capabilities import capabilities, choose_field_type
from sparcode_es.engines.elasticsearch.connection import ConnectionConfig, Server
from sparcode_es.engines.elasticsearch.engine import ElasticsearchEngine
from sparcode_es.engines.elasticsearch.request import DROP_LIMIT
from sparcode_es.engines.elasticsearch.templates import items_body, users_body
from sparcode_es.engines.node import LocalNode
from sparcode_es.errors import EngineAuthError, EngineError, NotFoundError

pytestmark = [pytest.mark.slow, pytest.mark.elasticsearch]
ITEMS = 2000
SERVERS = {"elasticsearch_7": "rank_features", "elasticsearch_9": "sparse_vector"}


def name_of(item: int) -> str:
    return f"{'zéaZ'[item % 4]}/{item} %"


def codes_of(item: int) -> dict[str, float]:
    """`7` ties everywhere; `1` rises with the item number, on the grid of scores; `h2_3` is on every fifth."""
    codes = {"7": 0.5, "1": 1.0 + item // 8 / 256}
    return {**codes, "h2_3": 0.25} if item % 5 == 0 else codes


def fill(server: Server, alias: str) -> str:
    """Make a small generation by hand, from mappings/ alone; returns its field type."""
    can = capabilities(server)
    kind = choose_field_type(can)
    hashes = {"model_hash": "m", "codebook_hash": "c", "artifact": "a"}
    meta = {"schema_version": 1, **hashes, "field_type": kind, "counts": {}}
    server.call("PUT", f"/{alias}-1", items_body(kind, can.version, meta=meta))
    server.call("PUT", f"/{alias}-users-1", users_body(meta))
    lines = []
    for item in range(ITEMS):
        source = {"item": name_of(item), "title": f"Title {item}", "codes": codes_of(item)}
        source["attributes"] = {"decade": 1900 + item % 10 * 10, "released": "1999-01-01", "genre": ["a", "b"]}
        lines += [{"index": {"_index": f"{alias}-1", "_id": name_of(item)}}, source]
    server.call(
        "POST", "/_bulk", "".join(json.dumps(line) + "\n" for line in lines).encode(), params={"refresh": "true"}
    )
    add = [{"add": {"index": f"{each}-1", "alias": each}} for each in (alias, f"{alias}-users")]
    server.call("POST", "/_aliases", {"actions": add})
    return kind


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    node: LocalNode = request.getfixturevalue(request.param)
    opened = Server(ConnectionConfig(url=node.url))
    assert fill(opened, "search") == SERVERS[request.param]
    yield opened
    for name in ("search-1", "search-users-1"):
        opened.call("DELETE", f"/{name}")
    opened.close()


@pytest.fixture(scope="module")
def engine(server: Server) -> ElasticsearchEngine:
    return ElasticsearchEngine(server, "search")


def best(query: Query) -> list[str]:
    scores = {
        name_of(item): sum(clause.boost * codes_of(item).get(clause.term, 0.0) for clause in query.clauses)
        for item in range(ITEMS)
        if name_of(item) not in query.exclude
    }
    return sorted((i for i in scores if scores[i] > 0), key=lambda item: (-scores[item], item.encode()))[: query.k]


@pytest.mark.parametrize("k", [1, 10, 300, ITEMS + 5])
def test_ties_that_go_far_beyond_the_fetched_hits(engine: ElasticsearchEngine, k: int) -> None:
    query = Query((Clause("7", 2.0),), k)
    assert [hit.item for hit in engine.search(query)] == best(query)
    assert engine.search_many([query])[0] == engine.search(query)


def test_terms_of_heads(engine: ElasticsearchEngine) -> None:
    query = Query((Clause("7", 1.0), Clause("h2_3", 3.0)), 20)
    assert [hit.item for hit in engine.search(query)] == best(query)
    assert engine.search(query)[0].score == 1.25


@pytest.mark.parametrize("boost", [1e-6, 0.5, 64.0, 65.0, 1e6])
def test_any_boost(engine: ElasticsearchEngine, boost: float) -> None:
    for hit in engine.search(Query((Clause("7", boost),), 3)):
        assert hit.score == pytest.approx(0.5 * boost, rel=1e-6)


def test_a_repeated_term_counts_twice(engine: ElasticsearchEngine) -> None:
    query = Query((Clause("7", 1.0), Clause("7", 2.0)), 1)
    assert engine.search(query)[0].score == 1.5
    assert [(part.boost, part.score) for part in engine.explain(query, name_of(0))] == [(1.0, 0.5), (2.0, 0.5)]


@pytest.mark.parametrize("count", [3, DROP_LIMIT, DROP_LIMIT + 1, ITEMS - 7])
def test_exclusions_by_the_client_and_by_the_server(engine: ElasticsearchEngine, count: int) -> None:
    clauses = (Clause("1", 1.0), Clause("7", 1.0))
    hidden = frozenset(best(Query(clauses, count)))
    query = Query(clauses, 10, hidden)
    assert [hit.item for hit in engine.search(query)] == best(query)


@pytest.mark.parametrize("pair", [("decade", "1950"), ("released", "1999-01-01"), ("genre", "b")])
def test_attributes_of_any_kind_are_keywords(engine: ElasticsearchEngine, pair: tuple[str, str]) -> None:
    assert len(engine.search(Query((Clause("7", 1.0),), 5, filter=parse_filter(dict([pair]))))) == 5


def test_ids_of_any_characters(engine: ElasticsearchEngine) -> None:
    name = name_of(1)
    assert engine.documents([name, "", "no/such"]).keys() == {name}
    assert engine.documents([name])[name].title == "Title 1"


def test_elasticsearch_explains_the_same(engine: ElasticsearchEngine, server: Server) -> None:
    query = Query((Clause("7", 1.5), Clause("1", 0.75), Clause("h2_3", 2.0), Clause("99", 1.0)), 5)
    text = engine.request(query)
    body = {"query": json.loads(text.partition("\n")[2])["query"], "explain": True}
    rows = server.call("POST", "/search/_search", body)["hits"]["hits"]
    assert rows
    for row in rows:
        parts = engine.explain(query, row["_id"])
        assert "99" not in {part.term for part in parts}
        given = sorted(part.boost * part.score for part in parts)
        assert math.isclose(sum(given), row["_explanation"]["value"], rel_tol=1e-6)
        theirs = sorted(each["value"] for each in leaves(row["_explanation"]))
        assert given == pytest.approx(theirs, rel=1e-6)


def leaves(explanation: dict[str, Any]) -> list[dict[str, Any]]:
    """The clauses of a sum; a sum of one clause is that clause."""
    if not explanation["description"].startswith("sum of"):
        return [explanation]
    return [leaf for each in explanation["details"] for leaf in leaves(each)]


@pytest.mark.parametrize("exclude", [frozenset(), frozenset({name_of(ITEMS - 1), name_of(ITEMS - 2)})])
def test_the_shown_request_can_be_pasted(engine: ElasticsearchEngine, server: Server, exclude: frozenset[str]) -> None:
    query = Query((Clause("1", 1.0),), 4, exclude)
    line, _, body = engine.request(query).partition("\n")
    method, path = line.split()
    path, _, preference = path.partition("?preference=")
    rows = server.call(method, f"/{path}", json.loads(body), params={"preference": preference})["hits"]["hits"]
    found = [(row["fields"]["item"][0], row["_score"]) for row in rows]
    assert found == [(hit.item, hit.score) for hit in engine.search(query)]


def test_more_clauses_than_the_server_takes(engine: ElasticsearchEngine) -> None:
    clauses = tuple(Clause(str(code), 1.0) for code in range(200_000))
    with pytest.raises(EngineError, match="more codes than"):
        engine.search(Query(clauses))


def test_users_that_are_not_there(engine: ElasticsearchEngine, server: Server) -> None:
    with pytest.raises(NotFoundError, match="nobody"):
        engine.user("nobody")
    server.call("PUT", "/alone-1", {"mappings": {}})
    try:
        with pytest.raises(EngineError, match="is an index, not an alias"):
            ElasticsearchEngine(server, "alone-1").info()
        with pytest.raises(NotFoundError, match="sparcode-es index"):
            ElasticsearchEngine(server, "nothing").info()
    finally:
        server.call("DELETE", "/alone-1")


def test_passwords(elasticsearch_secure: LocalNode) -> None:
    url, password = elasticsearch_secure.url, elasticsearch_secure.password
    right = Server(ConnectionConfig(url=url, username="elastic", password=password))
    assert choose_field_type(capabilities(right)) == "rank_features"
    for wrong in (ConnectionConfig(url=url), ConnectionConfig(url=url, username="elastic", password="guess1")):
        with pytest.raises(EngineAuthError, match="401") as caught:
            capabilities(Server(wrong))
        assert "guess1" not in str(caught.value)
