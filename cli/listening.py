"""Where the commands that serve listen, what they say of it, and how they end."""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from sparcode_es.errors import ConfigError

if TYPE_CHECKING:
    import uvicorn

    from sparcode_es.engines.base import EngineInfo

TERMINATED = 128 + signal.SIGTERM
"""As shells say it."""
host_option = click.option(
    "--host", default="127.0.0.1", show_default=True, help="Where to listen; this machine only by default."
)


def what_answers(info: EngineInfo) -> str:
    """An engine, and where it is."""
    return f"{info.engine} ({info.where})"


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


def serve(config: uvicorn.Config, opened: socket.socket, what: str) -> None:
    """Say on stderr what is served and at which address, and serve until a signal ends it.

    Raises `KeyboardInterrupt` at Ctrl-C and `SystemExit` (143) at SIGTERM, when the requests that were on their way have been
    answered, so that the caller closes what it has open, such as a query log.
    """
    import uvicorn

    host, port = opened.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    click.echo(f"{what}: http://{shown}:{port}/", err=True)
    # uvicorn raises the signal again when it has shut down; by default SIGTERM would end the process there.
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    try:
        uvicorn.Server(config).run(sockets=[opened])
    finally:
        signal.signal(signal.SIGTERM, before)
