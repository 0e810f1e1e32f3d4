"""`sparcode-es log`: the query log of an alias in Elasticsearch: made once, rolled over daily."""

from __future__ import annotations

import json
from typing import Any

import click
from sparcode_es_cli.connection import open_server
from sparcode_es_cli.generations import generation_options, print_removed


@click.group(
    epilog="\b\nExample:\n  sparcode-es log create --url http://localhost:9200 --index recs\n"
    "  sparcode-es log roll --url http://localhost:9200 --index recs --days 30"
)
def command() -> None:
    """Make the query log that `serve --log` writes to, and delete what is old. An administrator's rights are needed."""


@command.command(epilog="\b\nExample:\n  sparcode-es log create --index recs")
@generation_options
def create(name: str, as_json: bool, **flags: Any) -> None:
    """Make the data stream NAME-queries, or an index behind an alias where the server has no data streams."""
    from dataclasses import asdict

    from sparcode_es.engines.elasticsearch import query_log

    with open_server(flags) as server:
        found = query_log.create(server, name)
    verb = "made" if found.made else "is there"
    click.echo(json.dumps(asdict(found)) if as_json else f"{found.name}  {found.kind}  {verb}")


@command.command(epilog="\b\nExample:\n  sparcode-es log roll --index recs --days 30")
@click.option(
    "--days",
    type=click.FloatRange(0),
    default=30,
    show_default=True,
    help="Older requests are deleted, index by index.",
)
@generation_options
def roll(days: float, name: str, as_json: bool, **flags: Any) -> None:
    """Begin a new index when the newest is a day old, and delete those with nothing younger than --days."""
    from sparcode_es.engines.elasticsearch import query_log

    with open_server(flags) as server:
        removed = query_log.roll(server, name, days)
    print_removed(removed, as_json)
