"""Systems in an Elasticsearch server: our engine, and the server's own vector search over the same items."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import numpy as np
import orjson

from retrieval.local import ALL, numbers
from retrieval.postings import item_id, number_of
from retrieval.recipe import World
from retrieval.systems import Ask, Queries, System
from sparcode_es.engines.elasticsearch import bulk
from sparcode_es.engines.elasticsearch.connection import ConnectionConfig, Server
from sparcode_es.engines.elasticsearch.engine import ElasticsearchEngine
from sparcode_es.engines.elasticsearch.index import IndexOptions, index
from sparcode_es.engines.elasticsearch.segments import index_bytes
from sparcode_es.postings.artifact import Artifact

NAME = "speed"
KNN_KINDS = ("int8_hnsw", "flat")
ASKS = tuple(name for name in ALL if name != "200 excluded")
FILTER_PATH = "hits.hits._score,hits.hits.fields"
MERGE_SECONDS = 7200.0


def ours(url: str, artifact: Artifact, queries: Queries, version: str, compact: bool | None, shards: int = 1) -> System:
    """Load the artifact, and ask it through our engine; a client has a connection of its own."""
    name = NAME if shards == 1 else f"{NAME}-{shards}"
    server = Server(ConnectionConfig(url=url, timeout=120))
    started = time.perf_counter()
    # The index of codes is there to be looked at and not asked here: it takes longer to make than the postings to load.
    with mock.patch.object(bulk, "code_documents", empty_codes):
        report = index(server, artifact, IndexOptions(name, compact=compact, shards=shards), lambda *_: None)
    about = {"build_s": round(time.perf_counter() - started, 1), "mebibytes": round(report.bytes / 2**20, 1)}
    about |= {"version": version, "field_type": report.field_type, "bytes_per_posting": report.bytes_per_posting}
    server.close()
    return asked(url, queries, version, about, name=name)


def empty_codes(artifact: Artifact) -> Iterator[bulk.Document]:
    """The codes' documents without their profiles."""
    for row in range(artifact.num_codes):
        term = artifact.term(row)
        yield term, orjson.dumps({"code": term})


def asked(
    url: str, queries: Queries, version: str, about: dict[str, Any], clauses: int | None = None, name: str = NAME
) -> System:
    """Our engine over what the alias holds."""

    def client() -> Callable[[Ask, int], list[Any]]:
        engine = ElasticsearchEngine(Server(ConnectionConfig(url=url, timeout=120)), name)

        def answer(ask: Ask, first: int) -> list[Any]:
            if ask.batch == 1:
                return [engine.search(queries.query(ask, first, clauses))]
            return engine.search_many([queries.query(ask, user, clauses) for user in queries.users(ask, first)])

        return answer

    return System(f"Elasticsearch {version}", "", "sparse", client(), ALL, about, client, numbers)


def knn(url: str, world: World, artifact: Artifact, queries: Queries, version: str, kind: str) -> System:
    """Load the vectors as `dense_vector` of one kind of index, and ask by `knn`, as leanly as our own engine asks."""
    server, name = Server(ConnectionConfig(url=url, timeout=120)), f"{NAME}-{kind.replace('_', '-')}"
    started = time.perf_counter()
    server.call("PUT", f"/{name}", _body(world.recipe.dim, kind))
    bulk.upload(server, name, _documents(world, artifact), lambda more: None)
    server.call("POST", f"/{name}/_refresh", timeout=MERGE_SECONDS)
    server.call("POST", f"/{name}/_forcemerge", params={"max_num_segments": 1, "flush": "true"}, timeout=MERGE_SECONDS)
    server.call("POST", f"/{name}/_refresh", timeout=MERGE_SECONDS)
    size = index_bytes(server, name) / 2**20
    about = {"build_s": round(time.perf_counter() - started, 1), "mebibytes": round(size, 1), "version": version}
    server.close()

    def client() -> Callable[[Ask, int], list[Any]]:
        own = Server(ConnectionConfig(url=url, timeout=120))
        return lambda ask, first: _answer(own, name, queries, ask, first)

    return System(f"kNN {kind}", f"Elasticsearch {version}", "dense", client(), ASKS, about, client)


def _body(dim: int, kind: str) -> dict[str, Any]:
    vector = {"type": "dense_vector", "dims": dim, "index": True, "similarity": "max_inner_product"}
    properties = {"item": {"type": "keyword"}, "vector": {**vector, "index_options": {"type": kind}}}
    properties["attributes"] = {"properties": {name: {"type": "keyword"} for name in ("half", "hundredth")}}
    settings = {"number_of_shards": 1, "number_of_replicas": 0, "refresh_interval": "-1"}
    return {
        "settings": {"index": settings},
        "mappings": {"_source": {"excludes": ["vector"]}, "properties": properties},
    }


def _documents(world: World, artifact: Artifact) -> Iterator[bulk.Document]:
    for item in range(world.recipe.items):
        attributes = artifact.item_doc(item)["attributes"]
        source = {"item": item_id(item), "attributes": attributes, "vector": world.vectors[item]}
        yield item_id(item), orjson.dumps(source, option=orjson.OPT_SERIALIZE_NUMPY)


def knn_body(ask: Ask, vector: np.ndarray) -> dict[str, Any]:
    """Elasticsearch's default of 1.5 k candidates, at least 100."""
    wanted: dict[str, Any] = {"field": "vector", "query_vector": vector.tolist(), "k": ask.k}
    wanted["num_candidates"] = max(100, 3 * ask.k // 2)
    if ask.filter:
        wanted["filter"] = [{"term": {f"attributes.{name}": value}} for name, value in ask.filter]
    lean = {"_source": False, "stored_fields": "_none_", "docvalue_fields": ["item"], "track_total_hits": False}
    return {"size": ask.k, **lean, "knn": wanted}


def _answer(server: Server, name: str, queries: Queries, ask: Ask, first: int) -> list[Any]:
    if ask.batch == 1:
        body = knn_body(ask, queries.vectors[first])
        answers = [server.call("POST", f"/{name}/_search", body, params={"filter_path": FILTER_PATH})]
    else:
        bodies = (knn_body(ask, queries.vectors[user]) for user in queries.users(ask, first))
        lines = b"".join(b"{}\n" + orjson.dumps(body) + b"\n" for body in bodies)
        paths = ",".join(f"responses.{path}" for path in FILTER_PATH.split(","))
        answer = server.call("POST", f"/{name}/_msearch", lines, params={"filter_path": paths})
        answers = answer["responses"]
    return [[number_of(hit["fields"]["item"][0]) for hit in each["hits"]["hits"]] for each in answers]
