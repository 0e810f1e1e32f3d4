"""Where Elasticsearch is and how to prove who we are; every error of the client becomes one of ours here."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from sparcode_es.engines.plans import CONNECTIONS, UNLIMITED, Call, Operation, Pause, Plan, T, run, within
from sparcode_es.errors import (
    ConfigError,
    EngineAuthError,
    EngineError,
    EngineUnavailableError,
    NotFoundError,
)

if TYPE_CHECKING:
    from elasticsearch import AsyncElasticsearch, Elasticsearch

SCHEMES = ("http", "https")
PASSING = frozenset({429, 502, 503, 504})
"""Statuses that may pass: asked again after a pause."""
BEFORE = PASSING | {401, 403, 408, 413, 500}
"""Statuses that a proxy before Elasticsearch, or what stands before its REST layer, gives without its header; without it, no
other error is one of Elasticsearch's."""
JSON = {"accept": "application/json", "content-type": "application/json"}
NDJSON = {"accept": "application/json", "content-type": "application/x-ndjson"}


@dataclass(frozen=True)
class ConnectionConfig:
    """A server and the credentials for it. Neither `repr` nor `where` shows a secret."""

    url: str | None = None
    cloud_id: str | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    api_key: str | None = field(default=None, repr=False)
    ca_certs: str | None = None
    ssl_assert_fingerprint: str | None = None
    insecure: bool = False
    """Accept any certificate."""
    timeout: float = 30.0
    """Seconds that one request may take."""
    http_port: int = 9200
    """The port of an http:// URL that names none."""

    def __post_init__(self) -> None:
        if (self.url is None) == (self.cloud_id is None):
            raise ConfigError("name the server with either --url (ES_URL) or --cloud-id (ES_CLOUD_ID)")
        if self.url is not None:
            self._check_url(self.url)
        if (self.username is None) != (self.password is None):
            raise ConfigError("give both --es-username and --es-password, or neither")
        if self.api_key is not None and self.username is not None:
            raise ConfigError("give either --es-api-key or --es-username and --es-password, not both")
        if self.ca_certs is not None and not Path(self.ca_certs).exists():
            raise ConfigError(f"--ca-certs names {self.ca_certs}, which is not there")
        if self.insecure and (self.ca_certs is not None or self.ssl_assert_fingerprint is not None):
            raise ConfigError(
                "--insecure accepts any certificate: leave it out, or --ca-certs and --ssl-assert-fingerprint"
            )
        if not 0 < self.timeout < math.inf:
            raise ConfigError(f"--timeout must be positive, not {self.timeout:g}")

    def _check_url(self, url: str) -> None:
        """Raise `ConfigError`, which shows nothing that stands before an `@`."""
        try:
            parts = urlsplit(url)
        except ValueError:
            raise ConfigError(f"the URL {self.where} is malformed; look at its host") from None
        if parts.scheme not in SCHEMES:
            raise ConfigError(f"the URL {self.where} must begin with http:// or https://")
        if "@" in f"{parts.path}{parts.query}{parts.fragment}":
            raise ConfigError(
                f"the URL {self.where} is cut off before its @; in a user name or password write / as %2F, ? as %3F, # as %23 "
                "and @ as %40"
            )

    def __repr__(self) -> str:
        return f"ConnectionConfig({self.where!r})"

    @property
    def where(self) -> str:
        """The server, without user name and password."""
        if self.url is None:
            return f"cloud {(self.cloud_id or '').partition(':')[0]}"
        secret, _, rest = self.url.rpartition("@")
        scheme = secret.partition("://")[0]
        return f"{scheme}://{rest}" if scheme in SCHEMES else rest

    def _url_and_auth(self) -> tuple[str | None, tuple[str, str] | None]:
        auth = None if self.username is None else (self.username, self.password or "")
        if self.url is None:
            return None, auth
        parts = urlsplit(self.url)
        if parts.username and auth is None and self.api_key is None:
            auth = (unquote(parts.username), unquote(parts.password or ""))
        port = parts.port or (443 if parts.scheme == "https" else self.http_port)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        return f"{parts.scheme}://{host}:{port}{parts.path}", auth

    def client_options(self) -> dict[str, Any]:
        """The arguments of `elasticsearch.Elasticsearch`."""
        url, auth = self._url_and_auth()
        options: dict[str, Any] = {"request_timeout": self.timeout, "max_retries": 0, "retry_on_timeout": False}
        options |= {"hosts": [url]} if url else {"cloud_id": self.cloud_id}
        if auth:
            options["basic_auth"] = auth
        if self.api_key:
            options["api_key"] = self.api_key
        if url is None or url.startswith("https"):
            options |= self._tls()
        return options

    def _tls(self) -> dict[str, Any]:
        if self.insecure:
            return {"verify_certs": False, "ssl_show_warn": False}
        options: dict[str, Any] = {"verify_certs": True}
        if self.ca_certs:
            options["ca_certs"] = self.ca_certs
        if self.ssl_assert_fingerprint:
            options["ssl_assert_fingerprint"] = self.ssl_assert_fingerprint
        return options


def connect(config: ConnectionConfig) -> Elasticsearch:
    """A client that does not retry by itself: `Server.call` does, with pauses. Sends nothing yet."""
    from elasticsearch import Elasticsearch

    with sound_options(config):
        return Elasticsearch(**config.client_options(), connections_per_node=CONNECTIONS)


@contextlib.contextmanager
def sound_options(config: ConnectionConfig) -> Iterator[None]:
    """What the client says of its options becomes a `ConfigError`."""
    try:
        yield
    except (ValueError, OSError) as error:
        raise ConfigError(f"the connection options for {config.where} are wrong: {error}") from error


MALFORMED = (AttributeError, KeyError, IndexError, TypeError, ValueError, OverflowError, StopIteration)
"""What reading an answer of another kind raises."""


@contextlib.contextmanager
def understood(where: str) -> Iterator[None]:
    """What an answer of another kind makes its reader raise becomes an `EngineError`."""
    try:
        yield
    except MALFORMED as error:
        raise EngineError(
            f"{where} answered with something of another kind ({error!r}); is it Elasticsearch?"
        ) from error


@contextlib.contextmanager
def translate_errors(where: str) -> Iterator[None]:
    """The one place where errors of elasticsearch-py become errors of ours."""
    import elastic_transport
    import elasticsearch

    try:
        yield
    except elasticsearch.UnsupportedProductError as error:
        raise _no_elasticsearch(where) from error
    except elasticsearch.ApiError as error:
        if error.meta.status not in BEFORE and error.meta.headers.get("x-elastic-product") != "Elasticsearch":
            raise _no_elasticsearch(where) from error
        raise api_error(where, error.meta.status, error.body) from error
    except elastic_transport.TlsError as error:
        raise tls_error(where, error.message) from error
    except elastic_transport.ConnectionTimeout as error:
        raise EngineUnavailableError(
            f"{where} did not answer in time; raise --timeout or look at the server."
        ) from error
    except (elastic_transport.SerializationError, RecursionError, UnicodeError) as error:
        raise EngineError(f"{where} answered something that is not JSON; is it Elasticsearch?") from error
    except elastic_transport.TransportError as error:
        if "FingerprintMismatch" in type(error.__context__).__name__:
            raise tls_error(where, "Fingerprints did not match") from error
        why = error.message.rpartition("Failed to establish a new connection: ")[2]
        raise EngineUnavailableError(f"cannot reach {where}: {why}. Is the server up?") from error


def _no_elasticsearch(where: str) -> EngineError:
    return EngineError(f"{where} does not answer like Elasticsearch; check the URL.")


REFUSED = (
    ("certificate has expired", "has expired; whoever runs the server must renew it"),
    ("not yet valid", "is not valid yet; look at the clocks, here and there"),
    (
        "Fingerprints did not match",
        "has another fingerprint than --ssl-assert-fingerprint; give its new one, if this is the right server",
    ),
    ("Hostname mismatch", "is for another host name; use the name that it was made for"),
    ("IP address mismatch", "is for another address; use the name that it was made for"),
    (
        "verify failed",
        "is not signed by an authority that --ca-certs names or this machine trusts; give --ca-certs or --ssl-assert-fingerprint",
    ),
)
"""What OpenSSL and the clients say of a certificate, and what we say."""


def tls_error(where: str, message: str) -> EngineAuthError | EngineUnavailableError:
    """Our error for a failed handshake."""
    if "WRONG_VERSION_NUMBER" in message or "record layer failure" in message:
        return EngineUnavailableError(f"{where} does not speak TLS; is its URL http:// rather than https://?")
    for words, meaning in REFUSED:
        if words in message:
            return EngineAuthError(f"the certificate of {where} {meaning}.")
    return EngineAuthError(f"the TLS handshake with {where} failed: {message[:150]}.")


class RefusedError(EngineError):
    """The server took a request for wrong in itself (400)."""


class ConflictError(EngineError):
    """A document has been written since it was read (409)."""


def reason_of(body: Any) -> str:
    """The server's own words out of an error body; of a proxy's page, that it is one."""
    if not isinstance(body, Mapping):
        text = " ".join(str(body).split())
        return "a page of HTML" if text.startswith("<") else text[:300] or "no reason given"
    error = body.get("error", body)
    if not isinstance(error, Mapping):
        return str(error)[:300]
    causes = error.get("root_cause") or [error]
    inner = error.get("failed_shards") or []
    deepest = inner[0].get("reason", {}) if inner else causes[0]
    return f"{deepest.get('type')}: {str(deepest.get('reason'))[:300]}"


def refuse_error(where: str, part: Mapping[str, Any]) -> None:
    """Raise what a part of a `_msearch`'s answer says went wrong, if it says so."""
    if "error" in part:
        raise api_error(where, int(part.get("status", 500)), part)


def blocked(where: str, reason: str) -> EngineUnavailableError:
    """Our error for an index or a cluster that takes no writes for now, whatever status says so (403, 429)."""
    full = "disk" in reason or "create-index" in reason
    todo = "free disk space on its nodes" if full else "find out who blocked it and lift the block"
    return EngineUnavailableError(f"{where} takes no writes now; {todo}, then try again. It says: {reason}")


def api_error(
    where: str, status: int, body: Any
) -> EngineError | EngineAuthError | EngineUnavailableError | NotFoundError:
    """Our error for an HTTP status and its body."""
    reason = reason_of(body)
    if "cluster_block_exception" in reason and status != 503:
        return blocked(where, reason)
    if status == 401:
        return EngineAuthError(f"{where} refused the credentials (401); check user name and password, or the API key.")
    if status == 403:
        return EngineAuthError(f"{where} does not allow this (403): {reason}")
    if status == 404:
        return NotFoundError(f"{where} has no such thing (404): {reason}")
    if status in PASSING:
        return EngineUnavailableError(f"{where} is overloaded or not ready ({status}): {reason}. Try again later.")
    if "too_many" in reason or "maxClauseCount" in reason:
        return EngineError(f"the query has more codes than {where} allows in one: {reason}")
    kind = {400: RefusedError, 409: ConflictError}.get(status, EngineError)
    return kind(f"{where} refused the request ({status}): {reason}")


def headers_of(call: Call) -> dict[str, str]:
    """Plain JSON, which every version takes, whatever the client's own."""
    return NDJSON if isinstance(call.body, bytes) else JSON if call.body is not None else {"accept": JSON["accept"]}


def where_of(client: Elasticsearch | AsyncElasticsearch) -> str:
    """The server that a client asks, without secrets."""
    return str(next(iter(client.transport.node_pool.all())).base_url)


class Server:
    """A client with one way in, `call`, that retries with growing pauses and raises our errors."""

    def __init__(self, config: ConnectionConfig, attempts: int = 4, pause: float = 0.1) -> None:
        self.where, self.attempts, self.pause = config.where, attempts, pause
        self._client = connect(config)

    @classmethod
    def of(cls, client: Elasticsearch) -> Server:
        """The same around a client that the caller made, whose own retries are not used."""
        server = cls.__new__(cls)
        server.where, server.attempts, server.pause = where_of(client), UNLIMITED.attempts, UNLIMITED.pause
        server._client = client.options(max_retries=0, retry_on_timeout=False)
        return server

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        params: Mapping[str, Any] | None = None,
        attempts: int | None = None,
        timeout: float | None = None,
    ) -> Any:
        """Send a request and return its JSON body.

        A `bytes` body is sent as newline-delimited JSON. 429, 502, 503, 504 and lost connections are tried again up to
        `attempts` times in all, with exponential pauses and jitter.
        """
        limits = replace(UNLIMITED, attempts=attempts or self.attempts, pause=self.pause)
        return run(within(asking(Call(method, path, body, params or {}, timeout)), limits), self.perform)

    def run(self, plan: Plan[T]) -> T:
        """Carry out a plan, its calls retried as in `call`."""
        return run(within(plan, replace(UNLIMITED, attempts=self.attempts, pause=self.pause)), self.perform)

    def perform(self, wanted: Operation) -> Any:
        """Do one thing that a plan asks for."""
        if isinstance(wanted, Pause):
            return time.sleep(wanted.seconds)
        client = self._client if wanted.timeout is None else self._client.options(request_timeout=wanted.timeout)
        with translate_errors(self.where):
            answer = client.perform_request(
                wanted.method, wanted.path, params=wanted.params, headers=headers_of(wanted), body=wanted.body
            )
            return getattr(answer, "body", answer)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def server_of(client: Elasticsearch | ConnectionConfig | str) -> Server:
    """A server out of what a caller has: a client of elasticsearch-py, a `ConnectionConfig`, or a URL. Sends nothing yet."""
    config = ConnectionConfig(url=client) if isinstance(client, str) else client
    return Server(config) if isinstance(config, ConnectionConfig) else Server.of(config)


def asking(call: Call) -> Plan[Any]:
    """A plan of one request."""
    return (yield call)
