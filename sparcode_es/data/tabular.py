"""Events from CSV and Parquet tables with named columns."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from sparcode_es.data.events import SHOWN, Events, ReadReport
from sparcode_es.data.lists import FORMS, entries_of, is_bracketed
from sparcode_es.data.text import bad_identifiers, make_events, not_utf8, read_bytes
from sparcode_es.data.times import Unit, parse_times
from sparcode_es.errors import DataError

USER_NAMES = ("user", "user_id", "userId", "user_index", "reviewerID")
ITEM_NAMES = ("item", "item_id", "itemId", "movieId", "asin", "parent_asin")
TIME_NAMES = (
    "timestamp",
    "time",
    "datetime",
    "date",
    "unixReviewTime",
    "event_time",
    "event_timestamp",
    "created_at",
    "ts",
)
CONTROL = r"[\x00-\x1f]"
"""No identifier that people write has one of these; bytes that are numbers do."""
LISTS = 0.9
"""The share of a text column's cells in brackets from which on they are lists."""


@dataclass(frozen=True)
class Columns:
    """Which columns hold what; None looks for the usual names (`USER_NAMES`, …). Without a time column, order is time.

    Cells of the item column may be lists: each entry is an event. Text is read as lists (of `entries_of`'s forms) where nine
    tenths of the cells are in brackets, and any other cell of such a column is bad.
    """

    user: str | None = None
    item: str | None = None
    time: str | None = None
    unit: Unit = "auto"
    separator: str | None = None
    """Of CSV; None takes the most frequent of comma, tab, semicolon and bar in the first line."""
    negative_ids: bool = False
    """Take identifiers that are negative numbers (hashes, say); otherwise such a row is bad, since -1 often means nobody."""


@dataclass(frozen=True)
class _Table:
    """The chosen columns of a source and each row's line."""

    table: pa.Table
    lines: np.ndarray
    report: ReadReport
    user: str
    item: str
    time: str | None

    def column(self, name: str) -> pa.Array:
        chunks = self.table.column(name).combine_chunks()
        return pa.concat_arrays(chunks.chunks) if isinstance(chunks, pa.ChunkedArray) else chunks

    def refuse(self, reasons: dict[str, np.ndarray], column: str, bad: np.ndarray) -> np.ndarray:
        """Report rows that a column makes bad, by reason (bool [n] each), but for those that are `bad` already; all of them."""
        cells, bad = self.table.column(column), bad.copy()
        for reason, rows in reasons.items():
            fresh = np.flatnonzero(rows & ~bad)
            values = [cells[int(row)].as_py() for row in fresh[:SHOWN]]
            shown = [None if value is None else str(value) for value in values]
            self.report.refuse(self.lines[fresh], f"{reason}, column {column!r}", shown)
            bad |= rows
        return bad


@dataclass(frozen=True)
class _Entries:
    """Identifiers, one or several a row: `text[e]` stands in row `rows[e]` (int64) of `size`."""

    size: int
    rows: np.ndarray
    text: pa.Array
    bad: dict[str, np.ndarray] = field(default_factory=dict)
    """Of lists: by reason which rows are none, bool [size]."""

    @property
    def lists(self) -> bool:
        """Whether rows are lists."""
        return bool(self.bad)

    def rows_of(self, entries: np.ndarray) -> np.ndarray:
        """The rows that have one of these entries (bool), bool [size]."""
        found = np.zeros(self.size, dtype=bool)
        found[self.rows[entries]] = True
        return found


def read_table(path: Path, columns: Columns, parquet: bool, skip_bad_rows: bool = False) -> Events:
    """Events of a table. Raises `DataError` for a missing column (it lists those found), bad rows, an empty file.

    Bad rows: an identifier (an entry of a list, too) that is empty, NaN or a negative number, a text that is no list among
    lists, a time that is missing, negative, after the year 9999, or neither a number nor ISO 8601, too few or too many
    columns. In Parquet a row's number stands for its line.
    """
    try:
        return _good_events(path, columns, parquet, skip_bad_rows)
    except pa.ArrowException as error:
        raise DataError(f"cannot read {path}: {error}") from error


def _good_events(path: Path, columns: Columns, parquet: bool, skip_bad_rows: bool) -> Events:
    found = _read_parquet(path, columns) if parquet else _read_csv(path, columns)
    users, items = _as_text(found.column(found.user)), _entries(found.column(found.item))
    bad = np.zeros(len(users), dtype=bool)
    bad = found.refuse(_bad_entries("user", _each(users), columns.negative_ids), found.user, bad)
    bad = found.refuse(items.bad | _bad_entries("item", items, columns.negative_ids), found.item, bad)
    times = None
    if found.time is not None:
        times, reasons = parse_times(found.column(found.time), columns.unit)
        bad = found.refuse(reasons, found.time, bad)
    found.report.check(str(path), skip_bad_rows)
    good = ~bad[items.rows]
    rows, text = items.rows[good], items.text.filter(pa.array(good))
    return make_events(users.take(pa.array(rows)), text, None if times is None else times[rows], found.report)


def _bad_entries(name: str, entries: _Entries, negative_ids: bool) -> dict[str, np.ndarray]:
    """By reason which rows have an entry that is no identifier, bool [n]."""
    empty, missing, negative = bad_identifiers(entries.text)
    what = f"an entry of the {name}s" if entries.lists else f"the {name}"
    reasons = {f"{what} is empty": empty, f"{what} is NaN or null": missing}
    if not negative_ids:
        reasons[f"{what} is negative (--negative-ids takes such identifiers)"] = negative
    return {reason: entries.rows_of(found) for reason, found in reasons.items()}


def _as_text(column: pa.Array) -> pa.Array:
    """Identifiers as trimmed text; whole floats (integers with gaps, as pandas writes them) lose their `.0`."""
    if pa.types.is_floating(column.type):
        values = column.to_numpy(zero_copy_only=False)
        if np.all(np.isnan(values) | (values == np.floor(values))):
            column = pc.if_else(pc.is_finite(column), column, None).cast(pa.int64())
    try:
        text = column.cast(pa.large_string())
        text.validate(full=True)  # Parquet says of its texts that they are UTF-8
    except pa.ArrowException as error:
        raise DataError(f"identifiers of type {column.type} cannot be read as text: {error}{_hint(column)}") from error
    if _is_binary(column) and pc.any(pc.match_substring_regex(text, CONTROL)).as_py():
        raise DataError(f"identifiers of type {column.type} are no text{_hint(column)}")
    return pc.utf8_trim_whitespace(text)


def _is_binary(column: pa.Array) -> bool:
    kinds = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary)
    return any(kind(column.type) for kind in kinds)


def _hint(column: pa.Array) -> str:
    return "; write them as text, in hexadecimal for example" if _is_binary(column) else ""


def _each(text: pa.Array) -> _Entries:
    """A column without lists: each row is one entry."""
    return _Entries(len(text), np.arange(len(text)), text)


def _entries(column: pa.Array) -> _Entries:
    """A column of identifiers or of lists of them, which text may be."""
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        rows, text = pc.list_parent_indices(column).to_numpy(), _as_text(pc.list_flatten(column))
        missing = pc.is_null(column).to_numpy(zero_copy_only=False)
        return _Entries(len(column), rows, text, {"the list of items is missing": missing})
    text = _as_text(column)
    known = text.drop_null().to_pylist() if pc.any(pc.starts_with(text, "[")).as_py() else []
    if not known or np.mean([is_bracketed(cell) for cell in known]) < LISTS:
        return _each(text)
    lists = [None if cell is None else entries_of(cell) for cell in text.to_pylist()]
    rows = np.repeat(np.arange(len(lists)), [len(entries or ()) for entries in lists])
    flat = pa.array([entry.strip() for entries in lists for entry in entries or ()], pa.large_string())
    missing = pc.is_null(text).to_numpy(zero_copy_only=False)
    broken = np.array([entries is None for entries in lists]) & ~missing
    bad = {"the list of items is missing": missing, f"the items are no list ({FORMS})": broken}
    return _Entries(len(lists), rows, flat, bad)


def _choose(columns: Columns, present: list[str], source: str) -> tuple[str, str, str | None]:
    def find(what: str, asked: str | None, usual: tuple[str, ...], needed: bool) -> str | None:
        if asked is None:
            asked = next((name for name in usual if name in present), None)
        if asked is not None and present.count(asked) > 1:
            raise DataError(f"{source} has {present.count(asked)} columns {asked!r}; rename or remove all but one")
        if asked in present or (asked is None and not needed):
            return asked
        missing = f"no column {asked!r}" if asked else f"no column with a usual name for the {what}"
        raise DataError(f"{source} has {missing}; it has: {', '.join(present[:40])}. Give --{what}-column.")

    user = find("user", columns.user, USER_NAMES, True)
    item = find("item", columns.item, ITEM_NAMES, True)
    if user is None or item is None:
        raise AssertionError("find raises where a needed column is missing")
    time = find("time", columns.time, TIME_NAMES, False)
    if len({user, item, time}) < 3:
        raise DataError(f"{source}: users, items and times need columns of their own, not {user!r}, {item!r}, {time!r}")
    return user, item, time


def _read_parquet(path: Path, columns: Columns) -> _Table:
    if not path.exists():
        raise DataError(f"{path} does not exist")
    try:
        user, item, time = _choose(columns, pq.read_schema(path).names, str(path))
        table = pq.read_table(path, columns=[name for name in (user, item, time) if name])
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"cannot read {path} as Parquet: {error}") from error
    lines = np.arange(1, table.num_rows + 1)
    return _Table(table, lines, ReadReport(table.num_rows, user_column=user, item_column=item), user, item, time)


def separator_of(header: str) -> str:
    """The most frequent of the usual separators in a header line."""
    return max(",\t;|", key=header.count)


def _read_csv(path: Path, columns: Columns) -> _Table:
    content = read_bytes(path).removeprefix(b"\xef\xbb\xbf")
    if not content.strip():
        raise DataError(f"{path} is empty")
    try:
        first = content.split(b"\n", 1)[0].decode("utf-8").rstrip("\r")
    except UnicodeDecodeError as error:
        raise not_utf8(content, str(path)) or DataError(f"cannot read {path}: {error}") from error
    separator = columns.separator or separator_of(first)
    if len(separator.encode()) != 1:
        raise DataError(f"a separator of CSV is one ASCII character, not {separator!r}")
    try:
        header = next(csv.reader(io.StringIO(first), delimiter=separator), [])
    except (csv.Error, TypeError, ValueError) as error:
        raise DataError(f"cannot read the header of {path} with the separator {separator!r}: {error}") from error
    user, item, time = _choose(columns, header, str(path))
    refused: list[pacsv.InvalidRow] = []

    def refuse(row: pacsv.InvalidRow) -> str:
        refused.append(row)
        return "skip"

    wanted = [name for name in (user, item, time) if name]
    try:
        table = pacsv.read_csv(
            pa.BufferReader(content),
            # One thread: only then does Arrow know the line of a row it refuses.
            read_options=pacsv.ReadOptions(use_threads=False),
            parse_options=pacsv.ParseOptions(
                delimiter=separator, newlines_in_values=True, ignore_empty_lines=False, invalid_row_handler=refuse
            ),
            convert_options=pacsv.ConvertOptions(
                column_types={name: pa.large_string() for name in wanted},
                include_columns=wanted,
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=True,
            ),
        )
    except (pa.ArrowException, OSError) as error:
        raise not_utf8(content, str(path)) or DataError(f"cannot read {path} as CSV: {error}") from error
    return _numbered(table, refused, user, item, time)


def _numbered(table: pa.Table, refused: list[pacsv.InvalidRow], user: str, item: str, time: str | None) -> _Table:
    """The table without blank lines, each row with its line (the header is line 1), refused rows reported."""
    skipped = np.array([row.number for row in refused], dtype=np.int64)
    lines = np.setdiff1d(np.arange(2, table.num_rows + len(refused) + 2), skipped, assume_unique=True)
    columns = [pc.is_null(table.column(name)).to_numpy() for name in table.column_names]
    blank = np.logical_and.reduce(columns)
    if blank.any():
        table, lines = table.filter(pa.array(~blank)), lines[~blank]
    report = ReadReport(table.num_rows + len(refused), user_column=user, item_column=item)
    for row in refused:
        few = "few" if row.actual_columns < row.expected_columns else "many"
        report.refuse(
            np.array([row.number]), f"too {few} columns: {row.actual_columns} instead of {row.expected_columns}"
        )
    return _Table(table, lines, report, user, item, time)
