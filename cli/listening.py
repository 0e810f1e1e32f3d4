"""Where the commands that serve listen, what they say of it, and how they end."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from sparcode_es.engines.base import EngineInfo
from sparcode_es.errors import ConfigError

if TYPE_CHECKING:
    import uvicorn


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that listens. Raises `ConfigError`."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        opened = socket.create_server((host, port), family=family)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {host}, port {port}: {error.strerror}; give another --port or --host"
        ) from error
    with opened:
        yield opened


def serve(config: uvicorn.Config, opened: socket.socket, info: EngineInfo) -> None:
    """Say on stderr what answers, from where and at which address, and serve until a signal ends it. Raises `KeyboardInterrupt`
    at Ctrl-C, when the requests that were on their way have been answered."""
    import uvicorn

    host, port = opened.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    click.echo(f"{info.engine} ({info.where}): http://{shown}:{port}/", err=True)
    uvicorn.Server(config).run(sockets=[opened])
