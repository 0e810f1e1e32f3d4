"""`sparcode-es data`: fetch, import and describe interaction data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from sparcode_es.data.fetch import ARCHIVE_MD5, Fetcher, default_cache
from sparcode_es.data.splits import SplitOptions
from sparcode_es.data.write import Preparation

Decorated = Callable[..., Any]


def preparation_options(function: Decorated) -> Decorated:
    """The flags that say how events are filtered and split."""
    options = [
        click.option(
            "--split",
            "protocol",
            type=click.Choice(["leave-one-out", "users", "temporal"]),
            default="leave-one-out",
            show_default=True,
            help="leave-one-out: test = a user's last event, validation = the last but one. users: 8:1:1 of the users. "
            "temporal: by time.",
        ),
        click.option("--seed", default=0, show_default=True, help="Draws the held-out users."),
        click.option("--k-core", default=1, help="Events that every user and every item keeps at least."),
        click.option("--min-user", type=int, help="The same for users only."),
        click.option("--min-item", type=int, help="The same for items only."),
        click.option("--drop-duplicates", is_flag=True, help="Drop events that repeat a user, item and time."),
        click.option("--skip-bad-rows", is_flag=True, help="Leave bad rows out instead of failing."),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def _preparation(flags: dict[str, Any]) -> Preparation:
    return Preparation(
        split=SplitOptions(protocol=flags["protocol"], seed=flags["seed"]),
        min_user=flags["min_user"] or flags["k_core"],
        min_item=flags["min_item"] or flags["k_core"],
        drop_duplicates=flags["drop_duplicates"],
    )


def _note(text: str) -> None:
    click.echo(text, err=True)


@click.group()
def command() -> None:
    """Fetch, import and describe interaction data.

    \b
    Example:
      sparcode-es data fetch ml-100k --out data/ml-100k
    """


@command.command()
@click.argument("name", type=click.Choice(list(ARCHIVE_MD5)))
@click.option("--out", type=click.Path(path_type=Path), help="The data folder to write.  [default: data/NAME]")
@click.option("--cache", type=click.Path(path_type=Path), help="Where archives are kept.")
@preparation_options
def fetch(name: str, out: Path | None, cache: Path | None, **flags: Any) -> None:
    """Download a MovieLens data set and make a data folder of it.

    \b
    Example:
      sparcode-es data fetch ml-100k --out data/ml-100k
    """
    from sparcode_es.data.importer import import_movielens

    archive = Fetcher(cache or default_cache()).archive(name, _note)
    out = out or Path("data") / name
    dataset = import_movielens(archive, out, name, _preparation(flags), skip_bad_rows=flags["skip_bad_rows"])
    click.echo(f"{out}: {dataset.num_users:,} users, {dataset.num_items:,} items, {dataset.num_events:,} events")


@command.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The data folder to write.")
@click.option("--format", "kind", type=click.Choice(["movielens", "sequences"]), required=True)
@preparation_options
def import_(file: Path, out: Path, kind: str, **flags: Any) -> None:
    """Make a data folder of an interaction log.

    \b
    Example:
      sparcode-es data import beauty.txt.gz --format sequences --out data/beauty
    """
    from sparcode_es.data.importer import import_movielens, import_sequences

    make = import_movielens if kind == "movielens" else import_sequences
    dataset = make(file, out, out.name, _preparation(flags), skip_bad_rows=flags["skip_bad_rows"])
    click.echo(f"{out}: {dataset.num_users:,} users, {dataset.num_items:,} items, {dataset.num_events:,} events")
