"""Requests are read before they are work, within bounds of bytes and of time."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from sparcode_es.serving.asgi import Asgi, Message, Receive, Send, refuse
from sparcode_es.serving.crowd import Crowd

CLOSE = {"connection": "close"}
"""The rest of the body is not read, so that nothing can follow it."""


class Whole:
    """An ASGI application that begins with a request when all of its body is there: who sends slowly holds no place.

    bodiless: paths whose requests are passed on at once, since nobody reads a body there.
    """

    def __init__(self, app: Asgi, crowd: Crowd, bodiless: Collection[str] = ()) -> None:
        self._app, self._crowd, self._bodiless = app, crowd, bodiless

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer one that is too long (413) or too slow (408)."""
        if scope["type"] != "http" or scope["path"] in self._bodiless:
            await self._app(scope, receive, send)
            return
        most, seconds = self._crowd.most_bytes, self._crowd.body_seconds
        try:
            body = await asyncio.wait_for(_body(receive, most), seconds)
        except asyncio.TimeoutError:
            await refuse(send, 408, f"the request's body was not there after {seconds:g} s", CLOSE)
            return
        if body is None:
            return
        if len(body) > most:
            await refuse(send, 413, f"a request's body has at most {most} bytes", CLOSE)
            return
        await self._app(scope, _first(body, receive), send)


async def _body(receive: Receive, most: int) -> bytes | None:
    """The whole body, or a part of it that is longer than `most`; None when the client has gone."""
    body, more = bytearray(), True
    while more and len(body) <= most:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return bytes(body)


def _first(body: bytes, receive: Receive) -> Receive:
    """What receives a body that is there already, then what follows it."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def received() -> Message:
        return waiting.pop() if waiting else await receive()

    return received
