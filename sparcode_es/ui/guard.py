"""Who may ask a page on this machine: not another site's script, whatever name it has made resolve to this address."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable

from sparcode_es.serving.asgi import Asgi, Message, Receive, Send, refuse

LOCAL = ("localhost", "127.0.0.1", "::1")
MOST_BYTES = 1_000_000
"""Of a request's body."""
POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ]
)
"""Own files alone, no inline script or style, and no text ever read as markup (trusted types)."""
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


class Hosts:
    """The names under which the page is asked for. A name that somebody else made resolve to this machine is none of them."""

    def __init__(self, listening: str, further: Iterable[str] = ()) -> None:
        self._names = {name.lower() for name in (*LOCAL, listening, *further)}
        self._any_address = listening in ("0.0.0.0", "::", "")
        if self._any_address:
            self._names.add(socket.gethostname().lower())

    def allow(self, header: str) -> bool:
        """Whether a `Host` header names this page. An address, unlike a name, cannot be made to resolve elsewhere."""
        name = _without_port(header.lower()).rstrip(".")
        return name in self._names or (self._any_address and _is_address(name))


class Guard:
    """Middleware: refuses foreign hosts, other sites' requests, long bodies; adds the headers that a strict page has."""

    def __init__(self, app: Asgi, hosts: Hosts) -> None:
        self._app, self._hosts = app, hosts

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message = {**message, "headers": [*message.get("headers", []), *own]}
            await send(message)

        refused = self._refused({name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]})
        if refused is None:
            await self._app(scope, receive, sent)
        else:
            await refuse(sent, *refused)

    def _refused(self, headers: dict[str, str]) -> tuple[int, str] | None:
        """A status and a sentence, or None for a request that may pass."""
        if not self._hosts.allow(headers.get("host", "")):
            return 421, (
                f"this page is not {headers.get('host', '')!r}: open it under the address that the command printed, "
                "or start it with --allow-host and that name"
            )
        if headers.get("sec-fetch-site", "none") not in ("same-origin", "none") and not _navigates(headers):
            return 403, "another site's page has asked; only this page itself may"
        length = headers.get("content-length", "0")
        if "transfer-encoding" in headers or not length.isdecimal() or int(length) > MOST_BYTES:
            return 413, f"a question has at most {MOST_BYTES} bytes, and says how many"
        return None


def _navigates(headers: dict[str, str]) -> bool:
    """Whether somebody has followed a link to the page."""
    return headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
