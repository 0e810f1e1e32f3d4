"""Where the commands that serve listen."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from sparcode_es.errors import ConfigError


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
