"""Bounds on what is in work at once: who comes too many is answered at once and otherwise, and nobody queues without end."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass

from sparcode_es.errors import ConfigError
from sparcode_es.serving.asgi import Asgi, Message, Receive, Send, refuse


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
    """How many requests the HTTP service holds at once, and what one of them may take before it is work."""

    most: int = 48
    """Requests in work, and waiting for a thread; one more is answered with 503 at once."""
    most_connections: int = 512
    """Connections with a request on them: those, and the ones whose body is still on its way. Together they hold at most so many
    times `most_bytes`; one more is answered with 503 at once, before its body is read."""
    retry_after: int = 1
    """Seconds after which such an answer asks to come again (its header Retry-After)."""
    most_bytes: int = 1_000_000
    """Of a request's body; a longer one is answered with 413."""
    body_seconds: float = 10.0
    """How long a body may take to arrive; a slower one is answered with 408."""

    def __post_init__(self) -> None:
        least = min(self.most, self.most_connections, self.most_bytes)
        if least < 1 or self.retry_after < 0 or not self.body_seconds > 0:
            raise ConfigError(
                f"a service holds at least one request, takes bodies, and asks to come again later, not {self}"
            )


class Bounded:
    """An ASGI application that answers 503 with Retry-After, before any work, while all places are taken.

    own: path → a gate of its own, or None for one that is always let in, so that whoever watches the service sees it when it is
    full, too. All others share `gate`. headers: of such an answer, beside Retry-After.
    """

    def __init__(
        self,
        app: Asgi,
        crowd: Crowd,
        gate: Gate,
        own: Mapping[str, Gate | None],
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._app, self._crowd, self._gate, self._own, self._headers = app, crowd, gate, own, headers or {}

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Let the request in, or answer it."""
        gate = self._own.get(scope["path"], self._gate) if scope["type"] == "http" else None
        if gate is None:
            await self._app(scope, receive, send)
        elif gate.enter():
            try:
                await self._app(scope, receive, send)
            finally:
                gate.leave()
        else:
            seconds = str(self._crowd.retry_after)
            said = f"shed: {gate.most} requests are here already; come again in {seconds} s"
            await refuse(send, 503, said, {"retry-after": seconds, **self._headers})
