"""The flags that say how a log of events is read, and what they choose."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource
from sparcode_es_cli.options import add_options

if TYPE_CHECKING:
    from sparcode_es.data.importer import ImportOptions

F = TypeVar("F", bound=Callable[..., Any])
FORMAT = click.option(
    "--format",
    "kind",
    type=click.Choice(["auto", "movielens", "sequences", "csv", "parquet", "deezer"]),
    default="auto",
    show_default=True,
)
LAYOUT = click.option("--layout", type=click.Choice(["auto", "pairs", "lines"]), default="auto", help="Of sequences.")
TABLE = (
    click.option("--user-column", help="Of csv and parquet."),
    click.option("--item-column", help="Its cells may be lists: each entry is an event."),
    click.option("--time-column", help="Numbers or ISO 8601; without one, the order of rows is the order of time."),
    click.option("--time-unit", type=click.Choice(["auto", "s", "ms", "us", "ns"]), default="auto", help="Of numbers."),
    click.option(
        "--negative-ids", is_flag=True, help="Of csv and parquet: numbers below 0 are identifiers (hashes, say)."
    ),
    click.option("--separator", help="Of csv.  [default: the first line's]"),
)
TABLE_FLAGS = ("user_column", "item_column", "time_column", "time_unit", "negative_ids", "separator")
SKIP_BAD_ROWS = click.option("--skip-bad-rows", is_flag=True, help="Leave bad rows out instead of failing.")


def table_options(function: F) -> F:
    """Add the flags that say how a table's columns are read."""
    return add_options(function, TABLE)


def reading_options(function: F) -> F:
    """Add all flags; `import_options(flags)` is what they choose."""
    return add_options(function, (FORMAT, LAYOUT, *TABLE, SKIP_BAD_ROWS))


def import_options(flags: dict[str, Any], **more: Any) -> ImportOptions:
    """How a log is read. Refuses the flags of a table for a format that is none."""
    from sparcode_es.data.importer import ImportOptions
    from sparcode_es.data.tabular import Columns

    kind = flags["kind"]
    if kind in ("movielens", "sequences", "deezer"):
        refuse(TABLE_FLAGS, f"--format {kind}")
    names = (flags["user_column"], flags["item_column"], flags["time_column"])
    columns = Columns(*names, flags["time_unit"], flags["separator"], flags["negative_ids"])
    return ImportOptions(kind, columns, flags["layout"], skip_bad_rows=flags["skip_bad_rows"], **more)


def refuse(names: tuple[str, ...], choice: str) -> None:
    """Raise a usage error for a flag that is given and that this choice does not read."""
    context = click.get_current_context()
    for name in names:
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"--{name.replace('_', '-')} means nothing with {choice}; leave it out")
