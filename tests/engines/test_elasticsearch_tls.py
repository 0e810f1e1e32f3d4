"""Certificates and slow servers."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from engines.authority import Authority, Signed
from sparcode_es.engines.elasticsearch.async_server import AsyncServer
from sparcode_es.engines.elasticsearch.connection import ConnectionConfig, Server
from sparcode_es.engines.plans import Call
from sparcode_es.errors import ConfigError, EngineAuthError, EngineUnavailableError


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("x-elastic-product", "Elasticsearch")
        self.send_header("content-type", "application/json")
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *arguments: Any) -> None:
        pass


class QuietServer(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that refuse the certificate hang up: expected here."""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate and its key, for localhost."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder / "cert.pem"


@contextmanager
def serving(certificate: Path, key: Path) -> Iterator[str]:
    """A server with this certificate; its URL."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = QuietServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"https://localhost:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def url(certificate: Path) -> Iterator[str]:
    with serving(certificate, certificate.with_name("key.pem")) as found:
        yield found


def ask(**options: Any) -> Any:
    server = Server(ConnectionConfig(timeout=5.0, **options), attempts=1)
    try:
        return server.call("GET", "/")
    finally:
        server.close()


def fingerprint(certificate: Path) -> str:
    der = ssl.PEM_cert_to_DER_cert(certificate.read_text(encoding="ascii"))
    return hashlib.sha256(der).hexdigest()


def test_an_unknown_certificate(url: str) -> None:
    with pytest.raises(EngineAuthError, match="--ca-certs"):
        ask(url=url)


def test_ways_to_trust(url: str, certificate: Path) -> None:
    assert ask(url=url, ca_certs=str(certificate)) == {}
    assert ask(url=url, ssl_assert_fingerprint=fingerprint(certificate)) == {}
    assert ask(url=url, insecure=True) == {}


def test_a_wrong_fingerprint(url: str, certificate: Path) -> None:
    wrong = fingerprint(certificate)[::-1]
    with pytest.raises(EngineAuthError, match="certificate"):
        ask(url=url, ssl_assert_fingerprint=wrong)
    with pytest.raises(ConfigError, match="wrong"):
        ask(url=url, ssl_assert_fingerprint="abc")


def test_a_file_that_holds_no_certificate(url: str, tmp_path: Path) -> None:
    file = tmp_path / "empty.pem"
    file.write_text("nothing", encoding="ascii")
    with pytest.raises((ConfigError, EngineAuthError), match=r"certificate|connection options"):
        ask(url=url, ca_certs=str(file))


def test_a_server_that_does_not_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        config = ConnectionConfig(url=f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=0.1)
        server = Server(config, attempts=2, pause=0.001)
        with pytest.raises(EngineUnavailableError, match="--timeout"):
            server.call("GET", "/")
        server.close()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority") / "ours")


@pytest.fixture(scope="module", params=["good", "expired"])
def signed(request: pytest.FixtureRequest, authority: Authority) -> Iterator[tuple[str, Signed]]:
    """The URL of a server, and its certificate by our authority."""
    made = authority.sign(request.param, valid=request.param == "good")
    with serving(made.certificate, made.key) as url:
        yield url, made


async def ask_async(**options: Any) -> Any:
    server = AsyncServer(ConnectionConfig(timeout=5.0, **options))
    try:
        return await server.perform(Call("GET", "/"))
    finally:
        await server.close()


@pytest.mark.parametrize("way", ["blocking", "asynchronous"])
def test_certificates_are_refused_with_a_sentence(
    signed: tuple[str, Signed], authority: Authority, tmp_path: Path, way: str
) -> None:
    url, made = signed
    stranger = Authority(tmp_path / "stranger")
    ours = "has expired; whoever runs" if made.certificate.stem == "expired" else None
    for options, words in (
        ({"ca_certs": str(authority.certificate)}, ours),
        ({"ca_certs": str(stranger.certificate)}, "is not signed by an authority that --ca-certs names"),
        ({}, "is not signed by an authority"),
        ({"ssl_assert_fingerprint": made.fingerprint}, None),
        ({"ssl_assert_fingerprint": made.fingerprint[::-1]}, "has another fingerprint than --ssl-assert-fingerprint"),
    ):
        if words is None:
            assert (ask(url=url, **options) if way == "blocking" else asyncio.run(ask_async(url=url, **options))) == {}
            continue
        with pytest.raises(EngineAuthError, match=f"the certificate of {url} {words}") as caught:
            ask(url=url, **options) if way == "blocking" else asyncio.run(ask_async(url=url, **options))
        assert str(caught.value).endswith(".")
        assert len(str(caught.value)) < 220
