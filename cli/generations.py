"""`sparcode-es generations`: what an alias could answer from, going back, clearing away."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click
from sparcode_es_cli.connection import connection_options, index_option, open_server
from sparcode_es_cli.options import json_option

F = TypeVar("F", bound=Callable[..., Any])
keep_option = click.option(
    "--keep", type=click.IntRange(1), default=2, show_default=True, help="Generations kept, the live one too."
)


def generation_options(function: F) -> F:
    """Add --index, --json and the connection's flags."""
    function = json_option("Print JSON.")(connection_options(function))
    return index_option("name")(function)


@click.group(
    epilog="\b\nExample:\n  sparcode-es generations list --url http://localhost:9200 --index recs\n"
    "  sparcode-es generations rollback --url http://localhost:9200 --index recs"
)
def command() -> None:
    """List the generations behind an alias, go back to an older one, delete old ones."""


@command.command("list", epilog="\b\nExample:\n  sparcode-es generations list --index recs --json")
@generation_options
def list_them(name: str, as_json: bool, **flags: Any) -> None:
    """List every generation, oldest first: the artifact that it holds, its state, and which one is live.

    A generation's name ends with the artifact that it was made of; an update in place makes another one of it.
    """
    from sparcode_es.engines.elasticsearch.generations import listed

    with open_server(flags) as server:
        rows = listed(server, name)
    if as_json:
        click.echo(json.dumps(rows))
        return
    for row in rows:
        click.echo(f"{row['generation']}  {row['artifact'] or '-'}  {row['state']}{'  live' if row['live'] else ''}")


@command.command(epilog="\b\nExample:\n  sparcode-es generations rollback --index recs")
@click.option("--to", "wanted", help="An older generation's name.  [default: the one before the live one]")
@generation_options
def rollback(name: str, wanted: str | None, as_json: bool, **flags: Any) -> None:
    """Let the alias stand for an older generation, in one request; readers see the one or the other.

    Newer generations are withdrawn: they are deleted first, and a later rollback, which never goes forward, passes them by unless
    --to names one.
    """
    from sparcode_es.engines.elasticsearch import generations

    with open_server(flags) as server:
        found = generations.rollback(server, name, wanted)
    click.echo(json.dumps({"generation": found}) if as_json else f"generation  {found}")


@command.command(epilog="\b\nExample:\n  sparcode-es generations prune --index recs --keep 2")
@keep_option
@generation_options
def prune(name: str, keep: int, as_json: bool, **flags: Any) -> None:
    """Delete what killed runs left, and generations: withdrawn ones first, then the oldest, never the live one."""
    from sparcode_es.engines.elasticsearch import generations

    with open_server(flags) as server:
        removed = generations.prune(server, name, keep)
    print_removed(removed, as_json)


def print_removed(removed: Sequence[str], as_json: bool) -> None:
    """Say which indices were deleted."""
    if as_json:
        click.echo(json.dumps({"removed": removed}))
        return
    for index in removed:
        click.echo(f"removed  {index}")
    if not removed:
        click.echo("nothing to remove")
