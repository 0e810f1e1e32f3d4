"""Who may do what, on the real servers with security on: users and roles from files, certificates of our own authority."""

from __future__ import annotations

import re
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sparcode_es_mappings

from conftest import start
from engines.authority import Authority, Signed
from serving.small_world import build
from sparcode_es import Recommender
from sparcode_es.codes import Clause
from sparcode_es.engines.base import Query
from sparcode_es.engines.elasticsearch import generations, query_log
from sparcode_es.engines.elasticsearch.connection import ConnectionConfig, Server
from sparcode_es.engines.elasticsearch.engine import ElasticsearchEngine
from sparcode_es.engines.elasticsearch.index import IndexOptions, index
from sparcode_es.engines.elasticsearch.layout import path_of
from sparcode_es.engines.node import Account, LocalNode, Security
from sparcode_es.errors import EngineAuthError, SparcodeError
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


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority") / "ca")


@pytest.fixture(scope="module", params=SERVERS)
def secured(
    request: pytest.FixtureRequest, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Secured]:
    """The artifact behind `NAME` and the other aliases, all loaded by `elastic`; twice behind `NAME`, so that there is an old
    generation."""
    signed = authority.sign(f"node-{request.param}")
    users = {name: Account(password, (name,)) for name, password in PASSWORDS.items()}
    roles = {kind: sparcode_es_mappings.role(kind, NAME) for kind in sparcode_es_mappings.ROLES}
    security = Security(users, {**roles, "nobody": {"cluster": []}}, signed.certificate, signed.key)
    artifact = build(tmp_path_factory.mktemp("secured") / "postings")
    for node in start(request.param, security=security, start_seconds=500.0):
        here = Secured(node, authority, signed, artifact)
        server = here.server("elastic")
        for name in (NAME, NAME, *OTHERS):
            index(server, artifact, IndexOptions(name, compact=False), lambda what, more, total: None)
        for name in (NAME, *OTHERS):
            query_log.create(server, name)
        server.close()
        yield here


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


PAGE = Path(__file__).resolve().parents[2] / "docs" / "operations.md"
ELSEWHERE = "what somebody may above, on another alias"


def matrix() -> str:
    """Who may do what, as the page of operations shows it."""
    lines = [["on " + " and ".join(SERVERS) + " alike", *PASSWORDS], ["---", *[":-:"] * len(PASSWORDS)]]
    lines += [[action, *("yes" if role in may else "no" for role in PASSWORDS)] for action, (_, may) in ACTIONS.items()]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [*lines, [ELSEWHERE, *["no"] * len(PASSWORDS)]])


def test_the_page_shows_who_may_do_what() -> None:
    assert f"<!-- rights -->\n\n{matrix()}\n\n<!-- end -->" in PAGE.read_text(encoding="utf-8"), matrix()


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


@pytest.mark.slow
@pytest.mark.elasticsearch
@pytest.mark.parametrize("role", PASSWORDS)
@pytest.mark.parametrize("action", ACTIONS)
def test_who_may_do_what(secured: Secured, action: str, role: str) -> None:
    act, allowed = ACTIONS[action]
    server = secured.server(role)
    try:
        if role in allowed:
            act(server, secured, NAME)
            return
        with pytest.raises(SparcodeError) as caught:
            act(server, secured, NAME)
        nothing = role in ("nobody", "logger") and "no index alias" in str(caught.value)
        assert isinstance(caught.value, EngineAuthError) or nothing
        assert PASSWORDS[role] not in str(caught.value)
    finally:
        server.close()


@pytest.mark.slow
@pytest.mark.elasticsearch
@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("role", PASSWORDS)
@pytest.mark.parametrize("action", [name for name, (_, allowed) in ACTIONS.items() if allowed])
def test_other_aliases_are_out_of_reach(secured: Secured, action: str, role: str, name: str) -> None:
    server = secured.server(role)
    if action == "list generations":  # a pattern with nothing behind it that one may see
        with pytest.raises(EngineAuthError):
            generations.listed(server, name)
    else:
        with pytest.raises(EngineAuthError, match="403"):
            ACTIONS[action][0](server, secured, name)
    server.close()


@pytest.mark.slow
@pytest.mark.elasticsearch
def test_certificates_that_are_not_the_servers(secured: Secured, tmp_path: Path) -> None:
    stranger = Authority(tmp_path / "stranger")
    assert secured.server("reader", ssl_assert_fingerprint=secured.signed.fingerprint).exists(f"/{NAME}")
    for options, words in (
        ({"ca_certs": str(stranger.certificate)}, "not signed by an authority that --ca-certs names"),
        ({"ssl_assert_fingerprint": secured.signed.fingerprint[::-1]}, "has another fingerprint"),
        ({"insecure": False}, "not signed by an authority"),
    ):
        one_sentence(lambda options=options: secured.server("reader", **options).call("GET", f"/{NAME}"), words)


@pytest.mark.slow
@pytest.mark.elasticsearch
def test_a_certificate_that_has_expired(secured: Secured) -> None:
    """The server takes up a changed certificate by itself, within seconds."""
    expired = secured.authority.sign("expired", valid=False)
    folder = secured.node.config_folder
    for kind, source in (("http.key", expired.key), ("http.crt", expired.certificate)):
        (folder / kind).write_bytes(source.read_bytes())
    port, waited = secured.node.state.port, threading.Event()
    try:
        for _ in range(300):
            if ssl.get_server_certificate(("127.0.0.1", port)).strip() in expired.certificate.read_text(
                encoding="ascii"
            ):
                break
            waited.wait(0.1)
        one_sentence(lambda: secured.server("reader").call("GET", f"/{NAME}"), "has expired")
    finally:
        for kind, source in (("http.key", secured.signed.key), ("http.crt", secured.signed.certificate)):
            (folder / kind).write_bytes(source.read_bytes())


def one_sentence(act: Callable[[], object], words: str) -> None:
    with pytest.raises(EngineAuthError, match=words) as caught:
        act()
    text = str(caught.value)
    assert text.endswith(".")
    assert len(text) < 250
    assert re.search(r"0x|<|Error\(|_ssl", text) is None


@pytest.mark.parametrize("kind", ["reader", "writer"])
def test_the_pattern_of_a_role_fits_its_alias_alone(kind: str) -> None:
    body = sparcode_es_mappings.role(kind, NAME)
    (pattern,) = body["indices"][0]["names"]
    fits = re.compile(pattern.strip("/")).fullmatch
    own = [NAME, f"{NAME}-users", f"{NAME}-codes", f"{NAME}-generations", f"{NAME}-20260101000000-0123456789ab"]
    own += [f"{NAME}-users-20260101000000-0123456789ab", f"{NAME}-codes-20260101000000-0123456789ab"]
    assert all(fits(name) for name in own)
    others = [
        *OTHERS,
        f"{NAME}-other",
        "another",
        f"{OTHER}-users",
        f"{NAME}-20260101000000",
        f"{NAME}-generations-20260101000000-0123456789ab",
        f"{OTHER}-generations",
        "shopxrecs-users",
        f"{NAME}-20260101000000-0123456789ab-x",
    ]
    assert not any(fits(name) for name in others)
    assert body["cluster"] == ([] if kind == "reader" else ["monitor"])


def test_the_pattern_of_a_logger_fits_its_log_alone() -> None:
    body = sparcode_es_mappings.role("logger", NAME)
    ((pattern,),) = (part["names"] for part in body["indices"])
    fits = re.compile(pattern.strip("/")).fullmatch
    assert fits(f"{NAME}-queries")
    assert fits(f"{NAME}-queries-000012")
    assert not any(fits(name) for name in (NAME, f"{OTHER}-queries", f"{NAME}-queries-x", "shopxrecs-queries"))
    assert (body["cluster"], body["indices"][0]["privileges"]) == ([], ["create_doc"])
