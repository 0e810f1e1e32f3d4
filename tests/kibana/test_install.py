"""`kibana import` against a small server that answers as Kibana does, and against servers that do not."""

from __future__ import annotations

import json
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from sparcode_es_cli.main import main

from engines.authority import Authority, Signed
from sparcode_es.kibana.objects import ndjson, saved_objects

STATUS = {"version": {"number": "9.4.5"}, "status": {"overall": {"level": "available"}}}
OBJECTS = saved_objects("recs", "9")
COUNT = len(OBJECTS)
DASHBOARD = OBJECTS[-1]["id"]
SECRETS = ("s3cret", "a2V5OnNlY3JldA==")


@dataclass
class Heard:
    """A request that came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class FakeKibana:
    """Answers what it is told, by path; keeps what it heard."""

    url: str = ""
    status: tuple[int, Any] = (200, STATUS)
    imported: tuple[int, Any] = (200, {"success": True, "successCount": COUNT})
    heard: list[Heard] = field(default_factory=list)


class QuietServer(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that refuse the certificate hang up: expected here."""


@contextmanager
def serving(fake: FakeKibana, certificate: Signed | None = None) -> Iterator[None]:
    """`fake` behind a port, over TLS when there is a certificate."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            fake.heard.append(Heard(self.command, self.path, headers, body))
            code, content = fake.status if self.path.endswith("/api/status") else fake.imported
            sent = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(code)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        do_GET = do_POST = answer

        def log_message(self, *arguments: Any) -> None:
            pass

    server = QuietServer(("127.0.0.1", 0), Handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate.certificate, certificate.key)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    fake.url = f"http{'s' if certificate else ''}://127.0.0.1:{server.server_port}"
    yield
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def kibana() -> Iterator[FakeKibana]:
    fake = FakeKibana()
    with serving(fake):
        yield fake


@dataclass(frozen=True)
class Ended:
    code: object
    out: str
    err: str


Run = Callable[..., Ended]


@pytest.fixture
def run(kibana: FakeKibana, no_settings: None, capsys: pytest.CaptureFixture[str]) -> Run:

    def call(*flags: str, path: str = "") -> Ended:
        where = () if "--kibana-url" in flags else ("--kibana-url", kibana.url + path)
        with pytest.raises(SystemExit) as ended:
            main(["kibana", "import", "--index", "recs", *where, *flags])
        told = capsys.readouterr()
        assert not any(secret in told.out + told.err for secret in SECRETS)
        if ended.value.code:
            assert told.out == ""
            assert told.err.count("\n") == 1 or ended.value.code == 2
        return Ended(ended.value.code, told.out, told.err)

    return call


def test_the_request(kibana: FakeKibana, run: Run) -> None:
    done = run()
    assert done.code == 0
    assert done.out == f"{COUNT} objects\n{kibana.url}/app/dashboards#/view/{DASHBOARD}\n"
    assert json.loads(run("--json").out) == {"objects": COUNT, "dashboard": done.out.split()[-1]}
    status, sent = kibana.heard[:2]
    assert (status.method, status.path) == ("GET", "/api/status")
    assert (sent.method, sent.path) == ("POST", "/api/saved_objects/_import?overwrite=true")
    assert sent.headers["kbn-xsrf"]
    assert "authorization" not in sent.headers
    form = BytesParser().parsebytes(b"content-type: " + sent.headers["content-type"].encode() + b"\r\n\r\n" + sent.body)
    (part,) = form.get_payload()
    assert part.get_filename().endswith(".ndjson")  # type: ignore[union-attr]
    assert part.get_param("name", header="content-disposition") == "file"  # type: ignore[union-attr]
    assert part.get_payload(decode=True) == ndjson(saved_objects("recs", "9")).rstrip(b"\n") + b"\n"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("number", "version"),
    [("7.17.29", "7.17"), ("8.0.1", "8"), ("8.19.2", "8"), ("9.4.5", "9"), ("10.0.0-SNAPSHOT", "9")],
)
def test_the_shape_is_that_of_the_kibana_that_answers(kibana: FakeKibana, run: Run, number: str, version: str) -> None:
    kibana.status = (200, {"version": {"number": number}})
    assert run().code == 0
    assert ndjson(saved_objects("recs", version)).strip() in kibana.heard[1].body


def test_a_version_that_is_given_is_not_asked_for(kibana: FakeKibana, run: Run) -> None:
    assert run("--kibana-version", "7.17").code == 0
    (sent,) = kibana.heard
    assert ndjson(saved_objects("recs", "7.17")).strip() in sent.body


def test_a_space_and_its_own_ids(kibana: FakeKibana, run: Run) -> None:
    there = [{"type": "dashboard", "id": DASHBOARD, "destinationId": "another"}]
    kibana.imported = (200, {"success": True, "successCount": COUNT, "successResults": there})
    done = run(path="/s/team/")
    assert done.out.endswith(f"{kibana.url}/s/team/app/dashboards#/view/another\n")
    assert kibana.heard[1].path == "/s/team/api/saved_objects/_import?overwrite=true"


def test_credentials(kibana: FakeKibana, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run("-u", "me", "-p", "s3cret")
    monkeypatch.setenv("ES_API_KEY", "a2V5OnNlY3JldA==")
    run()
    run("-u", "me", "-p", "s3cret")
    sent = [each.headers["authorization"] for each in kibana.heard if each.method == "POST"]
    assert sent == ["Basic bWU6czNjcmV0", "ApiKey a2V5OnNlY3JldA==", "Basic bWU6czNjcmV0"]
    monkeypatch.delenv("ES_API_KEY")
    monkeypatch.setenv("KIBANA_URL", kibana.url.replace("//", "//me:s3cret@"))
    assert run("--kibana-url", os.environ["KIBANA_URL"]).code == 0
    assert kibana.heard[-1].headers["authorization"] == "Basic bWU6czNjcmV0"


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (401, 9, "refused the credentials (401)"),
        (403, 9, "does not allow this (403): because"),
        (404, 5, "has no such thing (404): because"),
        (409, 10, "refused the request (409): because"),
        (400, 10, "refused the request (400): because"),
        (302, 10, "refused the request (302)"),
        (503, 8, "is overloaded or not ready (503): because"),
    ],
)
def test_a_refusal_is_one_sentence(kibana: FakeKibana, run: Run, status: int, code: int, said: str) -> None:
    refusal = (status, {"statusCode": status, "error": "A Title", "message": "because"})
    kibana.imported = refusal
    done = run("-u", "me", "-p", "s3cret")
    assert (done.code, said in done.err) == (code, True), done.err
    kibana.status = refusal
    assert run().code == code


def test_a_proxy_that_answers_for_kibana(kibana: FakeKibana, run: Run) -> None:
    kibana.status = (502, b"<html>bad gateway</html>")
    assert "not ready (502): no reason given; is it Kibana?" in run().err


def test_objects_that_are_not_taken(kibana: FakeKibana, run: Run) -> None:
    missing = {"type": "missing_references", "references": [{"type": "index-pattern", "id": "abc"}]}
    errors = [
        {"type": "visualization", "id": "1", "meta": {"title": "Code usage (recs)"}, "error": missing},
        {"type": "search", "id": "2", "title": "Items", "error": {"type": "conflict"}},
    ]
    kibana.imported = (200, {"success": False, "successCount": COUNT - 2, "errors": errors})
    done = run()
    assert done.code == 10
    assert f"took {COUNT - 2} of {COUNT} objects; it refused the visualization 'Code usage (recs)'" in done.err
    assert "(missing_references index-pattern abc), and 1 more." in done.err
    unknown = {"type": "unknown", "statusCode": 422, "message": "belongs to a more recent version of Kibana"}
    kibana.imported = (200, {"success": False, "successCount": COUNT - 1, "errors": [{**errors[1], "error": unknown}]})
    assert "it refused the search 'Items' (unknown belongs to a more recent version of Kibana)." in run().err
    kibana.imported = (200, {"success": False, "successCount": 3})
    assert f"took 3 of {COUNT} objects and does not say why" in run().err


@pytest.mark.parametrize("content", [b"<html>", b"[]", b"{}", b'{"success": "yes"}', b"\xff"])
def test_answers_that_are_not_kibanas(kibana: FakeKibana, run: Run, content: bytes) -> None:
    kibana.imported = (200, content)
    assert "is it Kibana?" in run().err
    kibana.status = (200, content)
    done = run()
    assert done.code == 10
    assert "is it Kibana?" in done.err or "--kibana-version" in done.err


def test_an_old_kibana(kibana: FakeKibana, run: Run) -> None:
    kibana.status = (200, {"version": {"number": "7.16.3"}})
    done = run()
    assert done.code == 3
    assert "is Kibana 7.16.3; the dashboard needs 7.17" in done.err
    kibana.status = (200, {"version": {"number": "?"}})
    assert run().code == 10


def test_a_server_that_is_down(run: Run) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    done = run("--kibana-url", f"http://me:s3cret@127.0.0.1:{port}")
    assert done.code == 8
    assert f"cannot reach http://127.0.0.1:{port}" in done.err


def test_a_server_that_does_not_speak_tls(kibana: FakeKibana, run: Run) -> None:
    done = run("--kibana-url", kibana.url.replace("http:", "https:"))
    assert done.code == 8
    assert "does not speak TLS" in done.err


def test_a_certificate_is_checked(run: Run, tmp_path: Path) -> None:
    authority, secure = Authority(tmp_path / "ours"), FakeKibana()
    with serving(secure, authority.sign("good")):
        refused = run("--kibana-url", secure.url, "-u", "me", "-p", "s3cret")
        assert refused.code == 9
        assert "--ca-certs" in refused.err
        assert secure.heard == []
        assert run("--kibana-url", secure.url, "--ca-certs", str(authority.certificate)).code == 0


@pytest.mark.parametrize(
    ("flags", "code"),
    [
        (("--kibana-url", "localhost:5601"), 3),
        (("--index", "Recs"), 3),
        (("-u", "me"), 3),
        (("--ca-certs", "/nowhere"), 3),
        (("--timeout", "0"), 3),
        (("--kibana-version", "6"), 2),
    ],
)
def test_wrong_flags_send_nothing(kibana: FakeKibana, run: Run, flags: tuple[str, ...], code: int) -> None:
    assert run(*flags).code == code
    assert kibana.heard == []
