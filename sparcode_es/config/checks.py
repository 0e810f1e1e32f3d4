"""What every table of a configuration checks itself with."""

from __future__ import annotations

from sparcode_es.errors import ConfigError


def require(holds: bool, message: str) -> None:
    """Raise `ConfigError` with the message unless it holds."""
    if not holds:
        raise ConfigError(message)
