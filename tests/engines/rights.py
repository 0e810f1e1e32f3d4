"""Who may do what: accounts, actions, and the roles that may carry them out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from engines.authority import Authority, Signed
from sparcode_es import Recommender
from sparcode_es.codes import Clause
from sparcode_es.engines.base import Query
from sparcode_es.engines.elasticsearch import generations, query_log
from sparcode_es.engines.elasticsearch.connection import ConnectionConfig, Server
from sparcode_es.engines.elasticsearch.engine import ElasticsearchEngine
from sparcode_es.engines.elasticsearch.index import IndexOptions, index
from sparcode_es.engines.elasticsearch.layout import path_of
from sparcode_es.engines.node import LocalNode
from sparcode_es.errors import EngineAuthError
from sparcode_es.postings.artifact import Artifact

NAME, OTHER = "shop.recs", "shop.recs2"
OTHERS = (OTHER, "shopxrecs")
"""Aliases whose names are near: a pattern that is too wide reaches them."""
PASSWORDS = {"reader": "reads-only", "writer": "writes-too", "logger": "appends-only", "nobody": "may-nothing"}
SERVERS = ["7.17.29", "9.4.5"]


@dataclass
class Secured:
    """A running server and how to reach it."""

    node: LocalNode
    authority: Authority
    signed: Signed
    artifact: Artifact

    def server(self, user: str, **options: Any) -> Server:
        password = self.node.password if user == "elastic" else PASSWORDS[user]
        trust = options or {"ca_certs": str(self.authority.certificate)}
        return Server(ConnectionConfig(url=self.node.url, username=user, password=password, **trust), attempts=1)


def load(server: Server, here: Secured, name: str) -> None:
    index(server, here.artifact, IndexOptions(name, compact=False), lambda what, more, total: None)


def put_document(server: Server, here: Secured, name: str) -> None:
    live = next(iter(server.call("GET", path_of(name, "_alias")))) if name == NAME else name
    server.call("PUT", path_of(live, "_doc", "new"), {"item": "new"})


def point_elsewhere(server: Server, here: Secured, name: str) -> None:
    """Let the alias stand for an index of somebody else's."""
    theirs = next(iter(here.server("elastic").call("GET", path_of(OTHER, "_alias"))))
    server.call("POST", "/_aliases", {"actions": [{"add": {"index": theirs, "alias": name}}]})


def recommend(server: Server, here: Secured, name: str) -> None:
    engine = ElasticsearchEngine(server, name)
    recommender = Recommender.for_engine(engine, fallback=False)
    assert recommender.recommend("user 3", k=5, explain=True, filter={"genre": "Drama"}).items
    assert recommender.warm().num_items == here.artifact.num_items


Action = Callable[[Server, Secured, str], object]
ACTIONS: dict[str, tuple[Action, set[str]]] = {
    "recommend": (recommend, {"reader", "writer"}),
    "search": (lambda s, h, n: ElasticsearchEngine(s, n).search(Query((Clause("1", 1.0),))), {"reader", "writer"}),
    "read mapping": (lambda s, h, n: s.call("GET", path_of(n, "_mapping")), {"reader", "writer"}),
    "list generations": (lambda s, h, n: generations.listed(s, n), {"reader", "writer"}),
    "write a document": (put_document, {"writer"}),
    "bulk": (lambda s, h, n: _bulk(s, n), {"writer"}),
    "refresh": (lambda s, h, n: s.call("POST", path_of(n, "_refresh")), {"writer"}),
    "change settings": (
        lambda s, h, n: s.call("PUT", path_of(n, "_settings"), {"index": {"refresh_interval": "2s"}}),
        {"writer"},
    ),
    "change the mapping": (lambda s, h, n: s.call("PUT", path_of(n, "_mapping"), {"_meta": _meta(s, n)}), {"writer"}),
    "load a generation": (load, {"writer"}),
    "read the list of generations": (
        lambda s, h, n: s.call("POST", path_of(f"{n}-generations", "_search")),
        {"reader", "writer"},
    ),
    "write the list of generations": (lambda s, h, n: _chronicle(s, n), {"writer"}),
    "roll back": (lambda s, h, n: generations.rollback(s, n), {"writer"}),
    "delete a generation": (lambda s, h, n: _delete_oldest(s, n), {"writer"}),
    "point the alias at another's index": (point_elsewhere, set()),
    "delete another's index": (lambda s, h, n: s.call("DELETE", path_of(_theirs(h))), set()),
    "create an index of another name": (lambda s, h, n: s.call("PUT", "/elsewhere"), set()),
    "append to the query log": (lambda s, h, n: _append(s, n), {"logger"}),
    "read the query log": (lambda s, h, n: s.call("POST", path_of(f"{n}-queries", "_search")), set()),
    "overwrite in the query log": (lambda s, h, n: _overwrite(s, n), set()),
    "delete the query log": (lambda s, h, n: s.call("DELETE", path_of(_log_index(h, n))), set()),
    "make a query log": (lambda s, h, n: query_log.create(s, "elsewhere"), set()),
    "see users": (lambda s, h, n: s.call("GET", "/_security/user"), set()),
    "make a role": (lambda s, h, n: s.call("PUT", "/_security/role/more", {"cluster": ["all"]}), set()),
    "change the cluster": (
        lambda s, h, n: s.call("PUT", "/_cluster/settings", {"persistent": {"cluster.max_shards_per_node": 900}}),
        set(),
    ),
}


ELSEWHERE = "what somebody may above, on another alias"


def matrix() -> str:
    """Who may do what, as the page of operations shows it."""
    lines = [["on " + " and ".join(SERVERS) + " alike", *PASSWORDS], ["---", *[":-:"] * len(PASSWORDS)]]
    lines += [[action, *("yes" if role in may else "no" for role in PASSWORDS)] for action, (_, may) in ACTIONS.items()]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [*lines, [ELSEWHERE, *["no"] * len(PASSWORDS)]])


def _bulk(server: Server, name: str) -> None:
    answer = server.call("POST", path_of(name, "_bulk"), b'{"index":{"_id":"bulk"}}\n{"item":"bulk"}\n')
    if answer["errors"]:
        raise EngineAuthError(f"(403) {answer['items'][0]['index']['error']}")


def _chronicle(server: Server, name: str) -> None:
    server.call("PUT", path_of(f"{name}-generations", "_mapping"), {"_meta": {}})
    server.call("POST", path_of(f"{name}-generations", "_refresh"))
    server.call("PUT", path_of(f"{name}-generations", "_doc", "mine"), {"generation": "mine"})


ENTRY = b'{"@timestamp":0,"k":1}'


def _log_index(here: Secured, name: str) -> str:
    found = here.server("elastic").call("GET", path_of(f"{name}-queries", "_settings"))
    return str(next(iter(found)))


def _append(server: Server, name: str) -> None:
    refused = query_log.ElasticsearchSink(server, name).write([ENTRY])
    if refused:
        assert "(403)" in refused[0]
        raise EngineAuthError(refused[0])


def _overwrite(server: Server, name: str) -> None:
    """With an id of its own, a document could take another's place."""
    answer = server.call("POST", path_of(f"{name}-queries", "_bulk"), b'{"index":{"_id":"1"}}\n' + ENTRY + b"\n")
    if answer["errors"]:
        raise EngineAuthError(f"(403) {answer['items'][0]['index']['error']}")


def _meta(server: Server, name: str) -> Any:
    return next(iter(server.call("GET", path_of(name, "_mapping")).values()))["mappings"]["_meta"]


def _theirs(here: Secured) -> str:
    return str(next(iter(here.server("elastic").call("GET", path_of(OTHER, "_alias")))))


def _delete_oldest(server: Server, name: str) -> None:
    """The oldest that is not live; the cluster refuses by name, so one that is not there does for those who may not."""
    rows = generations.listed(server, name)
    old = [row["generation"] for row in rows if not row["live"]]
    suffix = old[0].removeprefix(f"{name}-") if old else "20200101000000-0123456789ab"
    for each in (f"{name}-users-{suffix}", f"{name}-{suffix}"):
        server.call("DELETE", path_of(each))
