"""`sparcode-es data`: fetch, import, make up and describe interaction data."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, get_args

import click
import numpy as np
from sparcode_es_cli.extras import need_tables
from sparcode_es_cli.options import PATH, add_options, json_option
from sparcode_es_cli.reading_options import FORMAT, LAYOUT, SKIP_BAD_ROWS, import_options, refuse, table_options
from sparcode_es_cli.words import counted

from sparcode_es.data.dataset import Dataset
from sparcode_es.data.deezer_files import Embeddings
from sparcode_es.data.fetch import ARCHIVE_MD5, Fetcher, default_cache
from sparcode_es.data.fetch_deezer import fetch_deezer
from sparcode_es.data.manifest import KCore
from sparcode_es.data.splits import SplitOptions
from sparcode_es.data.write import Preparation
from sparcode_es.tables import ID_BYTES
from sparcode_es.visible import visible

Decorated = Callable[..., Any]
SPLITS: dict[str, Literal["valid", "test"]] = {"validation": "valid", "test": "test"}
COUNT = click.IntRange(min=1)
NOTHING_TO_ASK = {
    "leave-one-out": "only users of three events or more have one; --split users can do with two",
    "leave-last-out": "only users of more than twice --last events have one; --split users can do with two",
    "users": "a held-out user of one event has none; hold out more with --held-out",
    "temporal": "it asks users who have events on both sides of its border; move --valid-from and --test-from",
    "given": "the source labels no such user",
}
"""Why a split can leave no case, by its protocol."""
MUCH = 0.05
"""The share of a split's targets from which on items that no training knows are told of."""
EMBEDDINGS = click.option(
    "--embeddings",
    type=click.Choice(get_args(Embeddings)),
    default="svd",
    show_default=True,
    help="Of Deezer's data: TT-SVD, or UT-ALS (mf).",
)


def preparation_options(function: Decorated) -> Decorated:
    """The flags that say how events are filtered and split."""
    protocols = (
        "leave-one-out: test = a user's last event, validation = the last but one. leave-last-out: the last N, and the N before "
        "them. users: 8:1:1 of the users. "
    )
    options = [
        click.option(
            "--split",
            "protocol",
            type=click.Choice(["leave-one-out", "leave-last-out", "users", "temporal"]),
            default="leave-one-out",
            show_default=True,
            help=protocols + "temporal: by time.",
        ),
        click.option(
            "--last",
            type=COUNT,
            default=5,
            show_default=True,
            metavar="N",
            help="Leave-last-out: this many, of users with more than twice as many.",
        ),
        click.option("--seed", default=0, show_default=True, help="Draws the held-out users."),
        click.option(
            "--held-out", default=0.1, show_default=True, help="Share for validation, and as much for the test."
        ),
        click.option("--valid-from", help="Temporal: validation begins here (seconds or ISO 8601)."),
        click.option("--test-from", help="Temporal: the test begins here."),
        click.option("--k-core", type=COUNT, default=1, help="Events that every user and every item keeps at least."),
        click.option("--min-user", type=COUNT, help="The same for users only."),
        click.option("--min-item", type=COUNT, help="The same for items only."),
        click.option(
            "--drop-duplicates",
            is_flag=True,
            help="Drop events that repeat a user, item and time; in a log without times, a user and item.",
        ),
        SKIP_BAD_ROWS,
        click.option("--feature", "features", multiple=True, help="SIDE:NAME:KIND, as user:age:numerical; repeatable."),
        json_option(),
        click.option("--schema", type=PATH, help="TOML file with [[feature]] tables: side, name, kind."),
    ]
    return add_options(function, options)


def _preparation(flags: dict[str, Any]) -> Preparation:
    from sparcode_es.data.times import parse_time

    if flags["protocol"] != "temporal":
        refuse(("valid_from", "test_from"), f"--split {flags['protocol']}")
    if flags["protocol"] != "leave-last-out":
        refuse(("last",), f"--split {flags['protocol']}")
    if flags["protocol"] in ("leave-one-out", "leave-last-out"):
        refuse(("held_out", "seed"), f"--split {flags['protocol']}")
    bounds: dict[str, Any] = {
        name: None if flags[name] is None else parse_time(flags[name]) for name in ("valid_from", "test_from")
    }
    return Preparation(
        split=SplitOptions(flags["protocol"], flags["seed"], held_out=flags["held_out"], last=flags["last"], **bounds),
        k_core=KCore(flags["min_user"] or flags["k_core"], flags["min_item"] or flags["k_core"]),
        drop_duplicates=flags["drop_duplicates"],
    )


def _features(flags: dict[str, Any]) -> Any:
    from sparcode_es.data.side import DeclaredFeature, read_schema

    declared = [] if flags["schema"] is None else read_schema(flags["schema"])
    declared += [DeclaredFeature.parse(text) for text in flags["features"]]
    return tuple(declared) or None


def _note(text: str) -> None:
    click.echo(visible(text), err=True)


def _report(dataset: Dataset, as_json: bool) -> None:
    counts = asdict(dataset.manifest.counts)
    dropped = ", dropped" if counts["dropped_duplicates"] else " (--drop-duplicates drops them)"
    timed = dataset.has_times
    if not timed and dataset.manifest.source.format in ("csv", "parquet"):
        _note("no column of times: the order of rows is taken for it, oldest first; --time-column names one")
    for key, noun, text in (
        ("bad_rows", "bad row", "left out"),
        (
            "duplicates",
            "event",
            f"repeating an earlier one{dropped}"
            if timed
            else f"of a user and an item that an earlier one has{dropped}",
        ),
        ("outside_k_core", "event", "outside the k-core"),
    ):
        if counts[key]:
            _note(f"{counted(counts[key], noun)} {text}")
    for noun, table in (("item", dataset.item_ids), ("user", dataset.user_ids)):
        rows = table.longer(ID_BYTES)
        if len(rows):
            _note(
                f"{counted(len(rows), f'{noun} id')} of more than {ID_BYTES} bytes, such as {table[int(rows[0])][:60]!r}…: "
                "Elasticsearch takes none, so `sparcode-es index` will refuse what is made of this; the embedded engine does not"
            )
    empty = [f"no {name}" for name, split in SPLITS.items() if not len(dataset.cases(split))]
    if empty:
        protocol = dataset.manifest.split.protocol
        _note(f"--split {protocol} leaves {' and '.join(empty)} case: {NOTHING_TO_ASK[protocol]}")
    _note_unlearned(dataset)
    if as_json:
        found = {"data": str(dataset.path), "users": dataset.num_users, "items": dataset.num_items}
        click.echo(json.dumps({**found, "events": dataset.num_events, "counts": counts}))
        return
    sizes = {"user": dataset.num_users, "item": dataset.num_items, "event": dataset.num_events}
    click.echo(f"{dataset.path}: {', '.join(counted(number, noun) for noun, number in sizes.items())}")


def _note_unlearned(dataset: Dataset) -> None:
    """Say it when much of what is looked for are items that no training can know."""
    learned = np.bincount(dataset.train_sequences().items, minlength=dataset.num_items) > 0
    targets = {name: dataset.cases(split).target_items for name, split in SPLITS.items()}
    shares = {name: 1 - float(learned[items].mean()) for name, items in targets.items() if len(items)}
    if max(shares.values(), default=0.0) >= MUCH:
        told = " and ".join(f"{100 * share:.0f} % of the {name} targets" for name, share in shares.items())
        _note(
            f"{counted(int((~learned).sum()), 'item')} without a training event, which no training finds: {told}. For service, "
            "`train --refit` learns from the validation events too, with --with-test from all"
        )


@click.group()
def command() -> None:
    """Fetch, import and describe interaction data.

    \b
    Example:
      sparcode-es data fetch ml-100k --out data/ml-100k
    """


@command.command()
@click.argument("name", type=click.Choice([*ARCHIVE_MD5, "deezer"]))
@click.option("--out", type=PATH, help="The data folder to write.  [default: data/NAME]")
@click.option("--cache", type=PATH, help="Where archives are kept.  [default: the user's cache folder]")
@EMBEDDINGS
@preparation_options
def fetch(name: str, out: Path | None, cache: Path | None, embeddings: Any, **flags: Any) -> None:
    """Download MovieLens or Deezer's cold-start data (some gigabytes) and make a data folder of it.

    \b
    Example:
      sparcode-es data fetch ml-100k --out data/ml-100k
    """
    need_tables()
    from sparcode_es.data.importer import ImportOptions, SideTables, import_file

    preparation, features = _preparation(flags), _features(flags)
    fetcher, sides = Fetcher(cache or default_cache()), SideTables(features=features)
    if name == "deezer":
        source, name = fetch_deezer(fetcher, embeddings, _note), f"deezer-{embeddings}"
        options = ImportOptions("deezer", sides=sides, embeddings=embeddings)
    else:
        source = fetcher.archive(name, _note)
        options = ImportOptions("movielens", sides=sides, skip_bad_rows=flags["skip_bad_rows"])
    _report(import_file(source, out or Path("data") / name, name, preparation, options), flags["as_json"])


@command.command("import")
@click.argument("file", type=PATH)
@click.option("--out", type=PATH, required=True, help="The data folder to write.")
@click.option("--name", help="The data set's name.  [default: the folder's]")
@FORMAT
@EMBEDDINGS
@LAYOUT
@table_options
@click.option(
    "--items", type=PATH, help="Table of items (csv, parquet, json, jsonl): titles, attributes, item features."
)
@click.option("--items-id-column", help="[default: the first column]")
@click.option("--title-column", help="[default: title]")
@click.option(
    "--attribute", "attributes", multiple=True, help="A column shown and filtered on; repeatable.  [default: all]"
)
@click.option(
    "--list-column", "list_columns", multiple=True, help="An attribute that holds several values; repeatable."
)
@click.option("--list-separator", default="|", show_default=True)
@click.option("--users", type=PATH, help="Table of users (csv, parquet, json, jsonl): user features.")
@click.option("--users-id-column", help="[default: the first column]")
@preparation_options
def import_(file: Path, out: Path, name: str | None, embeddings: Any, **flags: Any) -> None:
    """Make a data folder of an interaction log.

    \b
    Examples:
      sparcode-es data import beauty.txt.gz --format sequences --out data/beauty
      sparcode-es data import log.csv --user-column user --item-column item --time-column time --out data/mine
      sparcode-es data import deezer --format deezer --embeddings mf --out data/deezer-mf
    """
    need_tables()
    from sparcode_es.data.importer import SideTables, import_file

    sides = SideTables(
        items=flags["items"],
        item_id=flags["items_id_column"],
        title=flags["title_column"],
        attributes=flags["attributes"] or None,
        list_columns=flags["list_columns"],
        separator=flags["list_separator"],
        users=flags["users"],
        user_id=flags["users_id_column"],
        features=_features(flags),
    )
    options = import_options(flags, sides=sides, embeddings=embeddings)
    _report(import_file(file, out, name or out.name, _preparation(flags), options, _note), flags["as_json"])


@command.command()
@click.argument("schema", type=click.Choice(["deezer"]))
@click.option("--out", type=PATH, required=True, help="A new folder for the files.")
@click.option("--users", type=click.IntRange(min=10), default=2000, show_default=True)
@click.option("--songs", type=click.IntRange(min=10), default=1000, show_default=True)
@click.option("--seed", default=0, show_default=True)
def synthesize(schema: str, out: Path, users: int, songs: int, seed: int) -> None:
    """Make up data with the files and columns of Deezer's, in which features predict songs.

    \b
    Example:
      sparcode-es data synthesize deezer --out deezer-made-up --users 2000 --songs 1000
      sparcode-es data import deezer-made-up --format deezer --out data/deezer-small
    """
    need_tables()
    from sparcode_es.data.deezer_synthetic import SyntheticOptions, write_synthetic

    write_synthetic(out, SyntheticOptions(users, songs, seed))
    click.echo(f"{out}: {users:,} users, {songs:,} songs with the schema of {schema}")


@command.command()
@click.argument("folder", type=PATH)
@json_option("Print one JSON document.")
@click.option("--verify", is_flag=True, help="Recompute every file's checksum first.")
def describe(folder: Path, as_json: bool, verify: bool) -> None:
    """Print counts, density, length quantiles, titles, attributes and features of a data folder.

    \b
    Example:
      sparcode-es data describe data/ml-100k --json
    """
    dataset = Dataset.open(folder, verify=verify)
    found = dataset.describe()
    if verify:
        found["verified_files"] = len(dataset.manifest.files)
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    for key, value in found.items():
        click.echo(visible(f"{key:<16} {_shown(value)}"))


def _shown(value: Any) -> str:
    """A value of the description as text for people."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shown(part)}" for name, part in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(value) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 10_000 else f"{value:,.6f}".rstrip("0").rstrip(".")
    return f"{value:,}" if isinstance(value, int) else str(value)
