"""Who may do what, on the real servers with security on: users and roles from files, certificates of our own authority."""

from __future__ import annotations

import re
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sparcode_es_mappings

from conftest import start
from engines.authority import Authority
from engines.rights import ACTIONS, NAME, OTHER, OTHERS, PASSWORDS, SERVERS, Secured, matrix
from serving.small_world import build
from sparcode_es.engines.elasticsearch import generations, query_log
from sparcode_es.engines.elasticsearch.index import IndexOptions, index
from sparcode_es.engines.node import Account, Security
from sparcode_es.errors import EngineAuthError, SparcodeError


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


PAGE = Path(__file__).resolve().parents[2] / "docs" / "operations.md"


def test_the_page_shows_who_may_do_what() -> None:
    assert f"<!-- rights -->\n\n{matrix()}\n\n<!-- end -->" in PAGE.read_text(encoding="utf-8"), matrix()


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
    assert secured.server("reader", ssl_assert_fingerprint=secured.signed.fingerprint).call("HEAD", f"/{NAME}")
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
