"""Requests over plain HTTP with connections that stay open: a third of the client time of elasticsearch-py, and no import of it.

Servers behind TLS and cloud ids go through elasticsearch-py (`connection.connect`), which knows certificates.
"""

from __future__ import annotations

import base64
import http.client
import select
import socket
import weakref
from collections import deque
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import orjson

from sparcode_es.errors import EngineError, EngineUnavailableError


class PlainHttp:
    """Connections to one `http://` URL. As many are open as were in use at the same time; safe for several threads."""

    def __init__(self, url: str, where: str, timeout: float, auth: tuple[str, str] | None, api_key: str | None) -> None:
        parts = urlsplit(url)
        self._host, self._port, self._prefix = parts.hostname or "", parts.port or 9200, parts.path.rstrip("/")
        self._where, self._timeout = where, timeout
        self._headers = {"accept": "application/json", "connection": "keep-alive"}
        if api_key:
            self._headers["authorization"] = f"ApiKey {api_key}"
        elif auth:
            self._headers["authorization"] = "Basic " + base64.b64encode(":".join(auth).encode()).decode()
        self._idle: deque[http.client.HTTPConnection] = deque()
        # Whoever forgets `close` leaves no open sockets behind.
        weakref.finalize(self, _close, self._idle)
        self._known = False

    def send(
        self, method: str, path: str, body: Any, params: Mapping[str, Any] | None, timeout: float | None
    ) -> tuple[int, Any]:
        """The status and the JSON of an answer. A `bytes` body is sent as newline-delimited JSON.

        Raises `EngineUnavailableError` when there is none, `EngineError` for one that is not Elasticsearch's.
        """
        target = f"{self._prefix}{path}?{_query(params)}" if params else f"{self._prefix}{path}"
        headers, content = self._headers, None
        if body is not None:
            lines = isinstance(body, bytes)
            headers = {**headers, "content-type": "application/x-ndjson" if lines else "application/json"}
            content = body if lines else orjson.dumps(body)
        status, answer, product = self._exchange(method, target, content, headers, timeout or self._timeout)
        if 200 <= status < 300:
            self._check_product(product)
        return status, self._parsed(answer, status)

    def _exchange(
        self, method: str, target: str, content: bytes | None, headers: Mapping[str, str], timeout: float
    ) -> tuple[int, bytes, str | None]:
        connection = self._connection(timeout)
        try:
            connection.request(method, target, content, dict(headers))
            response = connection.getresponse()
            answer = response.read()
        except TimeoutError as error:
            connection.close()
            raise EngineUnavailableError(
                f"{self._where} did not answer in time; raise --timeout or look at the server."
            ) from error
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise EngineUnavailableError(f"cannot reach {self._where}: {error}. Is the server up?") from error
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)
        return response.status, answer, response.headers.get("x-elastic-product")

    def _connection(self, timeout: float) -> http.client.HTTPConnection:
        """An idle connection that the server has not closed meanwhile, or a new one."""
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:  # another thread was first
                break
            if connection.sock is not None and not _readable(connection.sock):
                connection.sock.settimeout(timeout)
                return connection
            connection.close()
        return http.client.HTTPConnection(self._host, self._port, timeout=timeout)

    def _check_product(self, product: str | None) -> None:
        if not self._known and product != "Elasticsearch":
            raise EngineError(f"{self._where} does not answer like Elasticsearch; check the URL.")
        self._known = True

    def _parsed(self, answer: bytes, status: int) -> Any:
        if not answer:
            return None
        try:
            return orjson.loads(answer)
        except orjson.JSONDecodeError as error:
            if status >= 300:
                return answer.decode("utf-8", "replace")
            raise EngineError(f"{self._where} answered something that is not JSON; is it Elasticsearch?") from error

    def close(self) -> None:
        """Close the idle connections."""
        _close(self._idle)


def _close(connections: deque[http.client.HTTPConnection]) -> None:
    while connections:
        connections.pop().close()


def _query(params: Mapping[str, Any]) -> str:
    """Booleans in lower case, commas and stars as they are."""
    texts = {name: str(value).lower() if isinstance(value, bool) else value for name, value in params.items()}
    return urlencode(texts, safe=",*", quote_via=quote)


def _readable(sock: socket.socket) -> bool:
    """Whether something came in on an idle connection: its end."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))
