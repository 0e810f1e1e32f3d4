"""The flags that choose an engine, and the engine they choose."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, Union

import click
from sparcode_es_cli.connection import connection_config, connection_given, connection_options, index_option
from sparcode_es_cli.options import add_options, postings_option

from sparcode_es.errors import ConfigError

if TYPE_CHECKING:
    from sparcode_es.engines.base import Engine
    from sparcode_es.engines.elasticsearch.engine import ElasticsearchEngine
    from sparcode_es.engines.embedded import EmbeddedEngine
    from sparcode_es.engines.inspector import Inspector
    from sparcode_es.engines.lookup import Lookup

AnyEngine = Union["EmbeddedEngine", "ElasticsearchEngine"]
F = TypeVar("F", bound=Callable[..., Any])

OPTIONS = (
    click.option(
        "--engine",
        type=click.Choice(["auto", "embedded", "elasticsearch"]),
        default="auto",
        show_default=True,
        help="auto: elasticsearch when --url (ES_URL) or --cloud-id (ES_CLOUD_ID) names a server, else embedded.",
    ),
    postings_option("The postings artifact."),
    index_option("index"),
)


def engine_options(function: F) -> F:
    """Add --engine, --postings, --index and the connection's flags."""
    return add_options(connection_options(function), OPTIONS)


@contextmanager
def chosen_engine(values: dict[str, Any]) -> Iterator[AnyEngine]:
    """Open the engine that the flags choose, from their values, and close it at the end. A server is not asked anything yet."""
    name = values["engine"]
    if name == "auto":
        name = "elasticsearch" if connection_given(values) else "embedded"
    engine: AnyEngine
    if name == "embedded":
        engine = _open_embedded(values["postings"])
    else:
        engine = _open_elasticsearch(values, values["index"])
    try:
        yield engine
    finally:
        engine.close()


@contextmanager
def chosen_inspector(values: dict[str, Any]) -> Iterator[Inspector]:
    """The inspector of the engine that the flags choose, closed at the end."""
    from sparcode_es.engines.embedded import EmbeddedEngine

    with chosen_engine(values) as engine:
        if isinstance(engine, EmbeddedEngine):
            from sparcode_es.engines.embedded_inspector import EmbeddedInspector

            yield EmbeddedInspector(engine)
        else:
            from sparcode_es.engines.elasticsearch.inspector import ElasticsearchInspector

            yield ElasticsearchInspector(engine)


def lookup_of(engine: AnyEngine) -> Lookup:
    """What finds attributes and values in an engine."""
    from sparcode_es.engines.embedded import EmbeddedEngine

    if isinstance(engine, EmbeddedEngine):
        from sparcode_es.engines.embedded_lookup import EmbeddedLookup

        return EmbeddedLookup(engine)
    from sparcode_es.engines.elasticsearch.lookup import ElasticsearchLookup

    return ElasticsearchLookup(engine)


def _open_embedded(postings: Path) -> AnyEngine:
    from sparcode_es.engines.embedded import EmbeddedEngine
    from sparcode_es.postings.artifact import Artifact

    return EmbeddedEngine(Artifact.open(postings))


def _open_elasticsearch(values: dict[str, Any], index: str) -> AnyEngine:
    if not connection_given(values):
        raise ConfigError("--engine elasticsearch needs a server: give --url (ES_URL) or --cloud-id (ES_CLOUD_ID)")
    from sparcode_es.engines.elasticsearch.connection import Server
    from sparcode_es.engines.elasticsearch.engine import ElasticsearchEngine

    return ElasticsearchEngine(Server(connection_config(values)), index)


def engine_note(engine: Engine, what: str) -> str:
    """Which engine answered, and what."""
    info = engine.info()
    field = f", {info.field_type}" if info.field_type else ""
    return f"{info.engine} ({info.where}{field}, generation {info.generation}): {what}"


def note_engine(engine: Engine, what: str) -> None:
    """Say on stderr which engine answered."""
    click.echo(engine_note(engine, what), err=True)
