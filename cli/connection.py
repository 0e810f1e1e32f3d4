"""The flags that say where Elasticsearch is, and the connection they make."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from sparcode_es.engines.elasticsearch.connection import ConnectionConfig

F = TypeVar("F", bound=Callable[..., Any])

OPTIONS = (
    click.option("--url", envvar="ES_URL", show_envvar=True, help="Elasticsearch, such as http://localhost:9200."),
    click.option("--cloud-id", envvar="ES_CLOUD_ID", show_envvar=True, help="Elastic Cloud instead of --url."),
    click.option("--es-username", envvar="ES_USERNAME", show_envvar=True),
    click.option("--es-password", envvar="ES_PASSWORD", show_envvar=True, help="Better given by the environment."),
    click.option("--es-api-key", envvar="ES_API_KEY", show_envvar=True, help="Better given by the environment."),
    click.option("--ca-certs", type=click.Path(), help="Certificates of the authority that signed the server's."),
    click.option("--ssl-assert-fingerprint", help="SHA-256 fingerprint of the server's certificate."),
    click.option("--insecure", is_flag=True, help="Accept any certificate."),
    click.option("--timeout", type=float, default=30.0, show_default=True, help="Seconds a request may take."),
)
NAMES = ("url", "cloud_id", "ca_certs", "ssl_assert_fingerprint", "insecure", "timeout")


def connection_options(function: F) -> F:
    """Add the flags; `take_connection` takes their values out of the command's arguments."""
    for option in reversed(OPTIONS):
        function = option(function)
    return function


def take_connection(values: dict[str, Any]) -> ConnectionConfig | None:
    """Remove the flags' values from `values` and make the connection; None when no server is named.

    Raises `ConfigError` for flags that do not fit together.
    """
    chosen = {name: values.pop(name) for name in NAMES}
    credentials = {name: values.pop(f"es_{name}") for name in ("username", "password", "api_key")}
    if chosen["url"] is None and chosen["cloud_id"] is None:
        return None
    from sparcode_es.engines.elasticsearch.connection import ConnectionConfig

    return ConnectionConfig(**chosen, **credentials)
