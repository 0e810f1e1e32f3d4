"""The flags that turn the query log on, and the log that they choose."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from sparcode_es_cli.options import add_options

if TYPE_CHECKING:
    from sparcode_es_cli.engine_options import AnyEngine

    from sparcode_es.serving.log import QueryLog

F = TypeVar("F", bound=Callable[..., Any])
FILE = Path("runs/queries.jsonl")

OPTIONS = (
    click.option("--log", is_flag=True, help="Write each request to the query log: NAME-queries beside the alias."),
    click.option(
        "--log-file",
        type=click.Path(path_type=Path, dir_okay=False),
        envvar="SPARCODE_LOG_FILE",
        show_envvar=True,
        help=f"Write them to this file of JSON lines.  [default: {FILE}, for the embedded engine with --log]",
    ),
    click.option(
        "--log-users",
        type=click.Choice(["hash", "id", "none"]),
        default="hash",
        show_default=True,
        help="How the log names users; hash is keyed by SPARCODE_LOG_KEY.",
    ),
    click.option("--log-items", type=click.IntRange(0, 100), default=0, help="Item ids of an answer that are logged."),
)


def log_options(function: F) -> F:
    """Add the flags; `chosen_log(flags, engine)` opens what they choose."""
    return add_options(function, OPTIONS)


def chosen_log(flags: dict[str, Any], engine: AnyEngine) -> QueryLog | None:
    """The log, None where none is wanted; the recommender that it is given to closes it. Raises `ConfigError`."""
    if not flags["log"] and flags["log_file"] is None:
        return None
    from sparcode_es.engines.embedded import EmbeddedEngine
    from sparcode_es.serving.log import LogOptions, QueryLog

    options = LogOptions(users=flags["log_users"], items=flags["log_items"])
    if flags["log_file"] is not None or isinstance(engine, EmbeddedEngine):
        return QueryLog.to_file(flags["log_file"] or FILE, options)
    from sparcode_es.engines.elasticsearch.query_log import ElasticsearchSink

    return QueryLog(ElasticsearchSink(engine.server, engine.name), options)
