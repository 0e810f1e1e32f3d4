"""What a user is told when Elasticsearch refuses, is busy, is gone or is something else."""

from __future__ import annotations

import json
import threading
import traceback
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from sparcode_es.engines.base import Clause, Query
from sparcode_es.engines.elasticsearch.capabilities import Capabilities, capabilities, choose_field_type
from sparcode_es.engines.elasticsearch.connection import ConnectionConfig, RefusedError, Server
from sparcode_es.engines.elasticsearch.engine import ElasticsearchEngine
from sparcode_es.engines.elasticsearch.generations import listed
from sparcode_es.errors import (
    ConfigError,
    EngineAuthError,
    EngineError,
    EngineUnavailableError,
    NotFoundError,
    SparcodeError,
)

HASHES = {"model_hash": "m", "codebook_hash": "c", "artifact": "a"}
META = {"schema_version": 1, **HASHES, "field_type": "rank_features", "counts": {}}
MAPPING = {"shop-1": {"mappings": {"_meta": META, "properties": {"codes": {"type": "rank_features"}}}}}
QUERY = Query((Clause("1", 1.0),), k=2)
Answer = tuple[int, bytes]


class Fake:
    """A server whose answers are told beforehand: (status, body) in turn, the last one for good. Status 0 hangs up.
    headers: those of every answer."""

    def __init__(self) -> None:
        self.answers: list[Answer] = [(200, b"{}")]
        self.asked: list[str] = []
        self.headers = {"x-elastic-product": "Elasticsearch", "content-type": "application/json"}
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                self.rfile.read(int(self.headers.get("content-length", 0)))
                fake.asked.append(f"{self.command} {self.path.partition('?')[0]}")
                status, body = fake.answers[0] if len(fake.answers) == 1 else fake.answers.pop(0)
                if status == 0:
                    self.close_connection = True
                    return
                self.send_response(status)
                for name, value in fake.headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PUT = answer

            def log_message(self, *arguments: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"

    def say(self, *answers: tuple[int, Any]) -> None:
        self.answers = [
            (status, body if isinstance(body, bytes) else json.dumps(body).encode()) for status, body in answers
        ]


@pytest.fixture
def fake() -> Iterator[Fake]:
    server = Fake()
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.http.shutdown()
    thread.join()
    server.http.server_close()


@pytest.fixture
def opened(fake: Fake) -> Iterator[ElasticsearchEngine]:
    fake.say((200, MAPPING))
    engine = ElasticsearchEngine(connect(fake), "shop")
    engine.info()
    yield engine
    engine.close()


def connect(fake: Fake, attempts: int = 3) -> Server:
    return Server(ConnectionConfig(url=fake.url.replace("http://", "http://jo:secret@")), attempts, pause=0.001)


def reason(kind: str, text: str = "because") -> dict[str, Any]:
    return {"error": {"type": kind, "reason": text, "root_cause": [{"type": kind, "reason": text}]}}


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (401, EngineAuthError, "credentials"),
        (403, EngineAuthError, "does not allow"),
        (404, NotFoundError, "because"),
        (429, EngineUnavailableError, "overloaded"),
        (503, EngineUnavailableError, "overloaded"),
        (400, EngineError, "because"),
        (500, EngineError, "because"),
    ],
)
def test_statuses(fake: Fake, opened: ElasticsearchEngine, status: int, kind: type[SparcodeError], words: str) -> None:
    fake.say((status, reason("some_exception")))
    with pytest.raises(kind, match=words) as caught:
        opened.search(QUERY)
    assert fake.url in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("trouble", [(429, reason("busy")), (503, reason("busy")), (0, b"")])
def test_what_may_pass_is_asked_again(fake: Fake, opened: ElasticsearchEngine, trouble: tuple[int, Any]) -> None:
    fake.say(trouble, trouble, (200, {"hits": {"hits": [{"_score": 2.5, "fields": {"item": ["a"]}}]}}))
    assert [(hit.item, hit.score) for hit in opened.search(QUERY)] == [("a", 2.5)]
    assert len(fake.asked) == 4


def test_what_does_not_pass_is_asked_once(fake: Fake, opened: ElasticsearchEngine) -> None:
    fake.say((400, reason("parsing_exception")))
    with pytest.raises(EngineError, match="parsing_exception"):
        opened.search(QUERY)
    assert len(fake.asked) == 2


@pytest.mark.parametrize("body", [b"<html>hello</html>", b"{", b"\xff\xfe"])
def test_garbage(fake: Fake, opened: ElasticsearchEngine, body: bytes) -> None:
    fake.say((200, body))
    with pytest.raises(EngineError, match="not JSON"):
        opened.search(QUERY)


PAGE = b"<!DOCTYPE HTML>\n<html>\n<body>\nNot here\n</body>\n</html>"


@pytest.mark.parametrize("status", [200, 301, 400, 404, 405, 501])
@pytest.mark.parametrize(("kind", "body"), [("text/html", PAGE), ("application/json", b'{"detail": "Not Found"}')])
def test_another_server_is_not_taken_for_one_without_the_index(fake: Fake, status: int, kind: str, body: bytes) -> None:
    fake.headers = {"content-type": kind}
    fake.say((status, body))
    server = connect(fake)
    for ask in (
        ElasticsearchEngine(server, "shop").info,
        lambda: listed(server, "shop"),
        lambda: capabilities(server),
    ):
        with pytest.raises(EngineError) as caught:
            ask()
        assert str(caught.value) == f"{fake.url} does not answer like Elasticsearch; check the URL."


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, EngineAuthError), (403, EngineAuthError), (413, EngineError), (503, EngineUnavailableError)],
)
def test_a_page_of_a_proxy_is_not_shown(fake: Fake, status: int, kind: type[SparcodeError]) -> None:
    fake.headers = {"content-type": "text/html"}
    fake.say((status, PAGE))
    with pytest.raises(kind, match=rf"\({status}\)") as caught:
        ElasticsearchEngine(connect(fake), "shop").info()
    assert "<" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_dropped_connection(fake: Fake, opened: ElasticsearchEngine) -> None:
    fake.say((0, b""))
    with pytest.raises(EngineUnavailableError, match="cannot reach"):
        opened.search(QUERY)


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("security_exception", EngineAuthError),
        ("index_not_found_exception", NotFoundError),
        ("illegal_argument_exception", RefusedError),
        ("no_shard_available_action_exception", EngineUnavailableError),
    ],
)
def test_a_document_that_cannot_be_had(
    fake: Fake, opened: ElasticsearchEngine, kind: str, error: type[SparcodeError]
) -> None:
    """The answer is 200; its rows have words, and no status."""
    row = {"_index": "shop-users", "_id": "u", "error": {"type": kind, "reason": "because"}}
    fake.say((200, json.dumps({"docs": [row]}).encode()))
    with pytest.raises(error, match="because") as caught:
        opened.user("u")
    assert type(caught.value) is error


def test_nobody_listens() -> None:
    server = Server(ConnectionConfig(url="http://jo:secret@127.0.0.1:1"), attempts=1)
    with pytest.raises(EngineUnavailableError, match=r"cannot reach http://127\.0\.0\.1:1: \[Errno \d+\]") as caught:
        ElasticsearchEngine(server, "shop").info()
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("number", [b"NaN", b"-Infinity", b"1e999", b"[]", b'"x"'])
def test_numbers_that_no_request_can_hold_again(fake: Fake, opened: ElasticsearchEngine, number: bytes) -> None:
    fake.say((200, b'{"hits": {"hits": [{"_score": %s, "fields": {"item": ["a"]}}]}}' % number))
    with pytest.raises(EngineError, match="of another kind"):
        opened.search(QUERY)
    user = b'{"_index": "shop-users-1", "_id": "u", "found": true, "_source": {"codes": [{"term": "1", "boost": %s}]}}'
    fake.say((200, b'{"docs": [' + user % number + b"]}"))
    with pytest.raises(EngineError, match="of another kind"):
        opened.user("u")


def test_a_busy_part_of_many_is_asked_again_alone(fake: Fake, opened: ElasticsearchEngine) -> None:
    hit = {"hits": {"hits": [{"_score": 1.0, "fields": {"item": ["a"]}}]}}
    fake.say((200, {"responses": [hit, {"status": 429, **reason("busy")}]}), (200, hit))
    first, second = opened.search_many([QUERY, QUERY])
    assert first == second
    assert fake.asked[-2:] == ["POST /shop/_msearch", "POST /shop/_search"]


def test_a_wrong_part_of_many(fake: Fake, opened: ElasticsearchEngine) -> None:
    wrong = {"status": 400, **reason("too_many_clauses", "maxClauseCount is set to 1024")}
    fake.say((200, {"responses": [{}, wrong]}))
    with pytest.raises(EngineError, match="more codes than"):
        opened.search_many([QUERY, QUERY])


def test_a_search_that_timed_out_is_no_answer(fake: Fake, opened: ElasticsearchEngine) -> None:
    fake.say((200, {"timed_out": True}))
    with pytest.raises(EngineUnavailableError, match="time limit"):
        opened.search(QUERY)


@pytest.mark.parametrize(
    ("mapping", "kind", "words"),
    [
        ({"shop": MAPPING["shop-1"]}, EngineError, "is an index, not an alias"),
        ({"shop-1": {"mappings": {}}}, EngineError, "not made by"),
        ({**MAPPING, "shop-2": MAPPING["shop-1"]}, EngineError, "stands for 2 indices"),
        ({"shop-1": {"mappings": {"_meta": {**META, "schema_version": 9}}}}, EngineError, "schema version 9"),
        (
            {"shop-1": {"mappings": {"_meta": META, "properties": {"codes": {"type": "flattened"}}}}},
            EngineError,
            "flattened",
        ),
    ],
)
def test_wrong_indices(fake: Fake, mapping: Any, kind: type[SparcodeError], words: str) -> None:
    fake.say((200, mapping))
    with pytest.raises(kind, match=words):
        ElasticsearchEngine(connect(fake), "shop").info()


def test_no_alias(fake: Fake) -> None:
    fake.say((404, reason("index_not_found_exception")))
    with pytest.raises(NotFoundError, match="`sparcode-es index`"):
        ElasticsearchEngine(connect(fake), "shop").info()


@pytest.mark.parametrize("name", ["", "A", "_x", "a/b", "a*", "a,b"])
def test_names(fake: Fake, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot name an index"):
        ElasticsearchEngine(connect(fake), name)
    assert fake.asked == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "--url"),
        ({"url": "http://x", "cloud_id": "y"}, "--url"),
        ({"url": "localhost:9200"}, "http://"),
        ({"url": "http://x", "username": "u"}, "both"),
        ({"url": "http://x", "api_key": "k", "username": "u", "password": "p"}, "not both"),
        ({"url": "http://x", "timeout": 0.0}, "positive"),
        ({"url": "https://x", "insecure": True, "ssl_assert_fingerprint": "ab"}, "leave it out"),
    ],
)
def test_connections_that_cannot_be(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        ConnectionConfig(**options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"url": "https://x", "ca_certs": "/no/such/file.pem"}, "not there"),
        ({"url": "https://x:99999"}, "wrong"),
        ({"cloud_id": "nonsense"}, "wrong"),
    ],
)
def test_connections_that_cannot_be_made(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Server(ConnectionConfig(**options))


@pytest.mark.parametrize(
    "url",
    [
        "http://jo:sec/ret@host:9200",
        "http://jo:sec#ret@host:9200",
        "http://jo:sec?ret@host:9200/path",
        "https://jo:sec/r@t@host",
        "http://jo:secret@[::1",
        "http://jo:sec\N{CARE OF}ret@host",
        "jo:secret@host:9200",
        "jo:sec://ret@host:9200",
        "http:/jo:secret@host:9200",
    ],
)
def test_a_password_that_ends_the_host_too_early_is_not_shown(url: str) -> None:
    """What stands before an `@` is a secret, wherever that is."""
    with pytest.raises(ConfigError) as caught:
        ConnectionConfig(url=url)
    shown = "".join(traceback.format_exception(caught.value, limit=0))
    assert not any(part in shown for part in ("jo", "sec", "ret", "r@t"))


def test_how_a_password_of_any_characters_is_written() -> None:
    with pytest.raises(ConfigError, match="%2F"):
        ConnectionConfig(url="http://jo:sec/ret@host:9200")
    config = ConnectionConfig(url="http://jo:a%2Fb%23%3F%40@host:9200/path")
    assert config.client_options()["basic_auth"] == ("jo", "a/b#?@")
    assert config.where == "http://host:9200/path"


def test_secrets_are_not_shown() -> None:
    config = ConnectionConfig(url="https://jo:secret1@host:9200", api_key="secret2")
    assert "secret" not in repr(config)
    assert config.where == "https://host:9200"


@pytest.mark.parametrize(
    ("version", "modules", "wanted", "expected"),
    [
        ("7.17.29", ["mapper-extras"], "auto", "rank_features"),
        ("9.4.5", ["x-pack-core"], "auto", "sparse_vector"),
        ("9.4.5-SNAPSHOT", ["mapper-extras"], "auto", "rank_features"),
        ("9.4.5", ["mapper-extras"], "sparse_vector", "sparse_vector"),
        ("8.10.4", [], "auto", EngineError),
        ("8.10.4", ["mapper-extras"], "sparse_vector", EngineError),
        ("9.4.5", [], "rank_features", EngineError),
        ("9.4.5", [], "dense_vector", EngineError),
    ],
)
def test_field_types(fake: Fake, version: str, modules: list[str], wanted: str, expected: Any) -> None:
    node = {"version": version, "modules": [{"name": name} for name in modules]}
    fake.say((200, {"nodes": {"n": node}}))
    can = capabilities(connect(fake))
    if isinstance(expected, str):
        assert choose_field_type(can, wanted) == expected
    else:
        with pytest.raises(expected, match=r"field|older than"):
            choose_field_type(can, wanted)


def test_a_server_that_does_not_list_its_nodes(fake: Fake) -> None:
    fake.say((403, reason("security_exception")), (200, {"version": {"number": "8.19.1"}}))
    assert capabilities(connect(fake)) == Capabilities((8, 19, 1), True)
    fake.say((403, reason("security_exception")), (405, reason("no_such_endpoint")))
    with pytest.raises(EngineAuthError, match="security_exception"):
        capabilities(connect(fake))
    fake.say((404, {}), (200, {"tagline": "hello"}))
    with pytest.raises(EngineError, match="is it Elasticsearch"):
        capabilities(connect(fake))
