"""From a file to a data folder: find the format, read, read the side tables, write."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from sparcode_es.data.dataset import Dataset
from sparcode_es.data.deezer import import_deezer
from sparcode_es.data.deezer_files import SONGS, Embeddings
from sparcode_es.data.describe import texts_of
from sparcode_es.data.events import Events
from sparcode_es.data.features import FeatureTable
from sparcode_es.data.manifest import LogSource, Side
from sparcode_es.data.movielens import RATINGS, read_movielens
from sparcode_es.data.sequences import Layout, read_sequences
from sparcode_es.data.side import DeclaredFeature, declared_tables, item_texts, read_side
from sparcode_es.data.tabular import Columns, read_table
from sparcode_es.data.text import HEAD, JSON_LINES, head, read_bytes, suffix_of
from sparcode_es.data.write import ItemText, Preparation, write_dataset
from sparcode_es.errors import DataError
from sparcode_es.files import sha256_of

Format = Literal["auto", "movielens", "sequences", "csv", "parquet", "deezer"]
TITLE = "title"
"""The titles' column where none is named."""
NUMBER = re.compile(r"-?\d{1,18}")
MOVIELENS_FEATURES = (
    DeclaredFeature("user", "age", "numerical"),
    DeclaredFeature("user", "gender", "categorical"),
    DeclaredFeature("user", "occupation", "categorical"),
)
"""The features of MovieLens, where the copy at hand has its users' columns."""


@dataclass(frozen=True)
class SideTables:
    """The second and third file of an import, and what is taken from them."""

    items: Path | None = None
    item_id: str | None = None
    title: str | None = None
    """The title's column; None takes `title` where there is one."""
    attributes: tuple[str, ...] | None = None
    """The attributes' columns; None takes all but the title and vectors."""
    list_columns: tuple[str, ...] = ()
    """Columns of text that hold several values with `separator` between them."""
    separator: str = "|"
    users: Path | None = None
    user_id: str | None = None
    features: tuple[DeclaredFeature, ...] | None = None
    """None: none, but MovieLens's own for MovieLens."""


@dataclass(frozen=True)
class ImportOptions:
    """How a file is read."""

    format: Format = "auto"
    columns: Columns = field(default_factory=Columns)
    layout: Layout = "auto"
    sides: SideTables = field(default_factory=SideTables)
    skip_bad_rows: bool = False
    embeddings: Embeddings = "svd"
    """Of Deezer's data: TT-SVD or UT-ALS (mf)."""


def import_file(
    path: Path,
    out: Path,
    name: str,
    preparation: Preparation,
    options: ImportOptions,
    note: Callable[[str], None] = lambda text: None,
) -> Dataset:
    """Read `path` and write the data folder `out`. Raises `DataError` for anything wrong with the files.

    note: is told what of the side tables was used.
    """
    kind = detect_format(path) if options.format == "auto" else options.format
    if kind == "deezer":
        if preparation != Preparation() or options.sides != SideTables():
            raise DataError("Deezer's data come with their own split and features; leave those flags out")
        return import_deezer(path, out, name, options.embeddings)
    items = None if options.sides.items is None else read_side(options.sides.items, options.sides.item_id)
    users = None if options.sides.users is None else read_side(options.sides.users, options.sides.user_id)
    sides = options.sides
    if kind == "movielens":
        found = read_movielens(path, options.skip_bad_rows)
        events = found.events
        items, users = found.items if items is None else items, found.users if users is None else users
        default = MOVIELENS_FEATURES if found.users is not None and sides.users is None else ()
    else:
        events, default = _read(path, kind, options), ()
    features = default if sides.features is None else sides.features
    if sides.items is not None and items is not None:
        note(matched("item", sides.items, items, events.used_items(), events.report.item_column))
        if sides.title is None and TITLE not in items.columns:
            columns = ", ".join(str(column) for column in list(items.columns)[:20]) or "no other"
            note(
                f"{sides.items} has no column {TITLE!r}, so items have no titles: name it with --title-column ({columns})"
            )
    if sides.users is not None and users is not None:
        note(matched("user", sides.users, users, events.used_users(), events.report.user_column))
    tables = _tables(features, users, items, sides.separator)
    texts, before = _texts(items, sides, features), _shown(out)
    source = LogSource(path.name, sha256_of(path), kind)
    dataset = write_dataset(out, name, events, source, preparation, texts, tables)
    lost = sorted(before - _shown(out)) if before else []
    if lost:
        note(
            f"{out} had {', '.join(lost)}, which this import lacks; give the table with --items (--title-column, --attribute) "
            "to have them again"
        )
    return dataset


def _shown(folder: Path) -> set[str]:
    """What a data folder has to show of its items, in words; nothing where there is none that can be read."""
    try:
        titles, attributes = texts_of(Dataset.open(folder))
    except DataError:
        return set()
    return {*(["titles"] if titles else []), *(f"the attribute {name!r}" for name in attributes)}


def read_log(path: Path, options: ImportOptions) -> Events:
    """The events of a log in any format, without side tables. Raises `DataError` as `import_file` does."""
    kind = detect_format(path) if options.format == "auto" else options.format
    return read_movielens(path, options.skip_bad_rows).events if kind == "movielens" else _read(path, kind, options)


def matched(side: Side, path: Path, table: pd.DataFrame, ids: Sequence[str], column: str) -> str:
    """How many of the log's users or items a side table knows. Raises `DataError` where it knows none.

    ids: the log's, read from its `column` ("" where it has no named ones).
    """
    if not len(table):
        raise DataError(f"{path} has no row below its header; leave out --{side}s, or give the whole table")
    known = table.index.isin(ids).sum()
    if known == 0 and ids:
        theirs = "its keys" if table.index.name is None else f"its column {table.index.name!r}"
        ours = "the log" if not column else f"the log's column {column!r}"
        raise DataError(
            f"{path} knows none of the log's {side}s: {theirs} has ids such as {str(table.index[0])!r}, {ours} such as "
            f"{ids[0]!r}; name the column of the same ids with --{side}s-id-column"
        )
    return f"{path} knows {known:,} of the log's {len(ids):,} {side}s"


def _read(path: Path, kind: str, options: ImportOptions) -> Events:
    if kind == "sequences":
        return read_sequences(read_bytes(path), str(path), options.layout, options.skip_bad_rows)
    return read_table(path, options.columns, kind == "parquet", options.skip_bad_rows)


def _tables(
    features: Sequence[DeclaredFeature], users: pd.DataFrame | None, items: pd.DataFrame | None, separator: str
) -> list[FeatureTable]:
    repeated = {
        f"{f.side}:{f.name}" for f in features if sum((g.side, g.name) == (f.side, f.name) for g in features) > 1
    }
    if repeated:
        raise DataError(f"the feature {sorted(repeated)[0]} is declared twice")
    return [
        *declared_tables(features, "user", users, separator),
        *declared_tables(features, "item", items, separator),
    ]


def _texts(items: pd.DataFrame | None, sides: SideTables, features: Sequence[DeclaredFeature]) -> dict[str, ItemText]:
    if items is None:
        return {}
    present = [str(name) for name in items.columns]
    title = sides.title if sides.title is not None else TITLE if TITLE in present else None
    vectors = {f.name for f in features if f.side == "item" and f.kind == "vector"}
    attributes = sides.attributes
    if attributes is None:
        attributes = tuple(name for name in present if name != title and name not in vectors)
    wanted = [*attributes, *sides.list_columns, *([] if title is None else [title])]
    missing = next((name for name in wanted if name not in present), None)
    if missing is not None:
        raise DataError(f"the table of items has no column {missing!r}; it has: {', '.join(present[:20])}")
    lists = {*sides.list_columns, *(f.name for f in features if f.side == "item" and f.kind == "list")}
    return item_texts(items, title, attributes, lists, sides.separator)


def _timed(rows: list[list[str]]) -> bool:
    """Whether rows of three or four numbers each end with seconds of this age, and have none before it."""
    if len(rows) < 2 or {len(row) for row in rows} not in ({3}, {4}):
        return False
    middle = np.median(np.array(rows, dtype=np.float64), axis=0)
    return bool(middle[-1] > 1e8 > middle[:-1].max())


def detect_format(path: Path) -> Format:
    """The format by name and first lines; no more of the file is read. Raises `DataError` when it cannot be told."""
    if (path / SONGS).is_file():
        return "deezer"
    if path.is_dir() or path.name in RATINGS or (path.is_file() and zipfile.is_zipfile(path)):
        return "movielens"
    content = head(path)
    if content[:4] == b"PAR1" or path.suffix.lower() == ".parquet":
        return "parquet"
    suffix = suffix_of(path)
    if suffix in (".json", *JSON_LINES):
        read = f"pandas.read_json({str(path)!r}, lines={suffix in JSON_LINES}, dtype=False)"
        raise DataError(
            f"{path} is JSON, which is not read as a log; make Parquet of it: {read}.to_parquet('log.parquet')"
        )
    if suffix in (".csv", ".tsv"):
        return "csv"
    if len(content) < HEAD and not content.strip():
        raise DataError(f"{path} is empty")
    lines = content.decode("utf-8", "replace").splitlines()[:20]
    if suffix in (".dat", ".inter") or lines[0].count("::") == 3:
        return "movielens"
    whole = [line for line in lines[: max(1, len(lines) - 1)] if line.strip()]
    rows = [line.split() for line in whole]
    if rows and all(NUMBER.fullmatch(word) for row in rows for word in row):
        tabbed = all(line.count("\t") == 3 for line in whole) and all(len(row) == 4 for row in rows)
        # Four numbers a line with a date of this age in the fourth: MovieLens-100K's `u.data` under another name.
        dated = tabbed and float(np.median([int(row[3]) for row in rows])) > 1e8
        if not dated and _timed(rows):
            raise DataError(
                f"{path} looks like `user item … time`, numbers with a time last and no header; give it a first line of names, "
                "with commas or tabs between, and --format csv (lines that are a user and their items: --format sequences)"
            )
        return "movielens" if dated else "sequences"
    if any(separator in lines[0] for separator in ",\t;"):
        return "csv"
    raise DataError(f"cannot tell the format of {path}; give --format movielens, sequences, csv, parquet or deezer")
