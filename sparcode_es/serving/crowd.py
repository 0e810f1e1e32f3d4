"""Bounds on what is in work at once: who comes too many is answered at once and otherwise, and nobody queues without end."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

import orjson

from sparcode_es.errors import ConfigError

Message = MutableMapping[str, Any]
Asgi = Callable[[Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]


class Gate:
    """Lets at most `most` through at once and counts the others, of several threads or of one event loop."""

    def __init__(self, most: int) -> None:
        self.most, self.inside, self.shed = most, 0, 0
        self._lock = threading.Lock()

    def enter(self) -> bool:
        """Whether there is room; whoever it was given to leaves once."""
        with self._lock:
            room = self.inside < self.most
            self.inside += room
            self.shed += not room
        return room

    def leave(self) -> None:
        """Give the place back."""
        with self._lock:
            self.inside -= 1


@dataclass(frozen=True)
class Crowd:
    """How many requests the HTTP service holds at once."""

    most: int = 48
    """Requests in work, and waiting for a thread; one more is answered with 503 at once."""
    retry_after: int = 1
    """Seconds after which such an answer asks to come again (its header Retry-After)."""

    def __post_init__(self) -> None:
        if self.most < 1 or self.retry_after < 0:
            raise ConfigError(f"a service holds at least one request, and asks to come again later, not {self}")


class Bounded:
    """An ASGI application that answers 503 with Retry-After, before any work, while `crowd.most` requests are inside.

    Paths of `always` are let in and not counted: whoever watches the service sees it when it is full, too.
    """

    def __init__(self, app: Asgi, crowd: Crowd, gate: Gate, always: frozenset[str] = frozenset()) -> None:
        self._app, self._crowd, self._gate, self._always = app, crowd, gate, always

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        """Let the request in, or answer it."""
        if scope["type"] != "http" or scope["path"] in self._always:
            await self._app(scope, receive, send)
        elif self._gate.enter():
            try:
                await self._app(scope, receive, send)
            finally:
                self._gate.leave()
        else:
            await self._refuse(send)

    async def _refuse(self, send: Callable[[Message], Awaitable[None]]) -> None:
        said = f"shed: {self._gate.most} requests are in work already; come again in {self._crowd.retry_after} s"
        headers = [(b"content-type", b"application/json"), (b"retry-after", str(self._crowd.retry_after).encode())]
        await send({"type": "http.response.start", "status": 503, "headers": headers})
        await send({"type": "http.response.body", "body": orjson.dumps({"error": said})})
