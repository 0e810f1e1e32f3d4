"""The flags that name an Elasticsearch server, and the environment variables behind them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource
from sparcode_es_cli.options import add_options

from sparcode_es.engines.elasticsearch.connection import ConnectionConfig

if TYPE_CHECKING:
    from sparcode_es.engines.elasticsearch.connection import Server

F = TypeVar("F", bound=Callable[..., Any])


WHERE = (
    click.option("--url", envvar="ES_URL", help="Elasticsearch, such as http://localhost:9200 [ES_URL]."),
    click.option("--cloud-id", envvar=["ES_CLOUD_ID", "CLOUD_ID"], help="An Elastic Cloud deployment [ES_CLOUD_ID]."),
)
CREDENTIALS = (
    click.option("--es-username", "-u", envvar="ES_USERNAME", help="User name [ES_USERNAME]."),
    click.option("--es-password", "-p", envvar="ES_PASSWORD", help="Password; better in ES_PASSWORD than here."),
    click.option("--es-api-key", envvar="ES_API_KEY", help="API key; better in ES_API_KEY than here."),
    click.option("--ca-certs", envvar="ES_CA_CERTS", help="A file of certificates to trust."),
    click.option("--ssl-assert-fingerprint", help="The SHA-256 fingerprint of the server's certificate."),
    click.option("--insecure", is_flag=True, help="Accept any certificate."),
    click.option("--timeout", default=30.0, show_default=True, help="Seconds that one request may take."),
)


def connection_options(function: F) -> F:
    """Add the flags; read them with `connection_config(flags)`, `connection_given(flags)` says whether one is set."""
    return add_options(function, (*WHERE, *CREDENTIALS))


def credentials_options(function: F) -> F:
    """Add the flags but for the server's name; read them with `credentials_config(flags, url)`."""
    return add_options(function, CREDENTIALS)


def index_option(name: str) -> Callable[[F], F]:
    """Add --index, whose value comes as the parameter `name`."""
    return click.option(
        "--index",
        name,
        default="sparcode",
        envvar="SPARCODE_INDEX",
        show_envvar=True,
        show_default=True,
        help="The alias.",
    )


@contextmanager
def open_server(flags: dict[str, Any]) -> Iterator[Server]:
    """The server that a command's flags name, closed at the end. Raises `ConfigError`."""
    from sparcode_es.engines.elasticsearch.connection import Server

    server = Server(connection_config(flags))
    try:
        yield server
    finally:
        server.close()


def connection_given(flags: dict[str, Any]) -> bool:
    """Whether a server is named by flag or environment."""
    return bool(flags.get("url") or flags.get("cloud_id"))


def connection_config(flags: dict[str, Any]) -> ConnectionConfig:
    """The connection out of a command's flags. Raises `ConfigError` when they do not fit together."""
    chosen = {**flags, **_overruled()}
    return credentials_config(flags, url=chosen["url"] or None, cloud_id=chosen["cloud_id"] or None)


def credentials_config(flags: dict[str, Any], **where: Any) -> ConnectionConfig:
    """The same for a server that `where` names: `ConnectionConfig`'s `url`, and what else it takes of the kind."""
    chosen = {**flags, **_overruled()}
    return ConnectionConfig(
        username=chosen["es_username"] or None,
        password=chosen["es_password"] or None,
        api_key=chosen["es_api_key"] or None,
        ca_certs=flags["ca_certs"] or None,
        ssl_assert_fingerprint=flags["ssl_assert_fingerprint"] or None,
        insecure=flags["insecure"],
        timeout=flags["timeout"],
        **where,
    )


ALTERNATIVES = ((("url",), ("cloud_id",)), (("es_api_key",), ("es_username", "es_password")))
"""Ways to say the same thing. One on the command line beats the other in the environment."""


def _overruled() -> dict[str, None]:
    """The flags whose environment variables do not count, because the command line says it in the other way."""
    context = click.get_current_context()

    def comes_from(names: tuple[str, ...], source: ParameterSource) -> bool:
        return any(context.get_parameter_source(name) is source for name in names)

    pairs = [*ALTERNATIVES, *(pair[::-1] for pair in ALTERNATIVES)]
    return {
        name: None
        for said, other in pairs
        if comes_from(said, ParameterSource.COMMANDLINE) and not comes_from(other, ParameterSource.COMMANDLINE)
        for name in other
    }
