"""Side tables (items, users) as frames indexed by identifier → item texts and declared features."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from sparcode_es.data.events import LONGEST_VALUE
from sparcode_es.data.features import KINDS, FeatureTable
from sparcode_es.data.lists import FORMS, entries_of, is_bracketed
from sparcode_es.data.manifest import Kind, Side
from sparcode_es.data.tabular import separator_of
from sparcode_es.data.text import JSON_LINES, not_utf8, read_bytes, suffix_of
from sparcode_es.data.write import ItemText
from sparcode_es.errors import DataError
from sparcode_es.files import parse_json

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@dataclass(frozen=True)
class DeclaredFeature:
    """A feature that a user declares: which side, which column of its table, and how it is read."""

    side: Side
    name: str
    kind: Kind

    @classmethod
    def parse(cls, text: str) -> DeclaredFeature:
        """From `SIDE:NAME:KIND`, as on the command line."""
        parts = text.split(":")
        if len(parts) != 3 or parts[0] not in get_args(Side) or parts[2] not in KINDS or not parts[1]:
            kinds = ", ".join(KINDS)
            raise DataError(
                f"a feature is declared as SIDE:NAME:KIND (sides: user, item; kinds: {kinds}), not {text!r}"
            )
        if re.search(r"[/\\\0]", parts[1]) or parts[1].startswith("."):
            raise DataError(f"the feature name {parts[1]!r} cannot be part of a file name; rename the column")
        return cls(parts[0], parts[1], parts[2])  # type: ignore[arg-type]


def read_schema(path: Path) -> list[DeclaredFeature]:
    """Features declared in a TOML file: `[[feature]]` tables with side, name and kind."""
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"cannot read the schema {path}: {error}") from error
    entries = found.get("feature")
    if set(found) != {"feature"} or not isinstance(entries, list):
        raise DataError(f"the schema {path} must hold [[feature]] tables with side, name and kind, and nothing else")
    for entry in entries:
        if not isinstance(entry, dict) or set(entry) != {"side", "name", "kind"}:
            raise DataError(f"a [[feature]] of {path} must have side, name and kind, and nothing else: {entry}")
    return [DeclaredFeature.parse(f"{entry['side']}:{entry['name']}:{entry['kind']}") for entry in entries]


def read_side(path: Path, id_column: str | None = None) -> pd.DataFrame:
    """A side table indexed by identifier (`id_column`, or the first column), from CSV, Parquet, JSON or JSON lines; gzip too.

    JSON: one object a row, in a list or a line each, or an object identifier → list (it becomes the column `attributes`) or
    identifier → object of columns. Raises `DataError` for a missing column, a repeated or an empty identifier.
    """
    content = read_bytes(path)
    suffix = suffix_of(path)
    try:
        if suffix == ".json":
            found = parse_json(content)
            if not isinstance(found, list):
                return _from_json(found, path)
            frame = _from_records(found, path)
        elif suffix in JSON_LINES:
            frame = _from_records([parse_json(line) for line in content.splitlines() if line.strip()], path)
        elif content[:4] == b"PAR1":
            table = pq.read_table(io.BytesIO(content))
            table.validate(full=True)  # else text that is not UTF-8 is found where it is read
            frame = table.to_pandas()
        else:
            first = content[:65536].decode("utf-8", "replace").split("\n", 1)[0]
            frame = pd.read_csv(io.BytesIO(content), sep=separator_of(first), dtype=str, keep_default_na=False)
    except DataError:
        raise
    except Exception as error:  # pandas and Arrow raise whatever damaged metadata lead to
        raise (content[:4] != b"PAR1" and not_utf8(content, str(path))) or DataError(
            f"cannot read the table {path}: {error}"
        ) from error
    id_column = id_column or str(frame.columns[0])
    if id_column not in frame.columns:
        columns = ", ".join(str(c) for c in list(frame.columns)[:20])
        raise DataError(f"{path} has no column {id_column!r}; it has: {columns}")
    if any(is_missing(value) for value in frame[id_column]):
        raise DataError(f"{path} has a row without an identifier in the column {id_column!r}")
    frame.index = pd.Index([as_text(value) for value in frame[id_column]], dtype=object, name=id_column)
    if not frame.index.is_unique:
        repeated = frame.index[frame.index.duplicated()][0]
        raise DataError(f"{path} has the identifier {repeated!r} twice in the column {id_column!r}")
    return frame.drop(columns=[id_column])


def _from_records(rows: list[Any], path: Path) -> pd.DataFrame:
    if not any(rows) or not all(isinstance(row, dict) for row in rows):
        raise DataError(f"{path} must hold one object a row: column → value")
    return pd.DataFrame(rows, dtype=object)


def _from_json(found: Any, path: Path) -> pd.DataFrame:
    if not isinstance(found, dict) or not found:
        raise DataError(
            f"{path} must hold a JSON list of objects, or one object: identifier → list of attributes, or identifier → object"
        )
    if all(isinstance(value, dict) for value in found.values()):
        return pd.DataFrame.from_dict(found, orient="index", dtype=object)
    if not all(isinstance(value, list) for value in found.values()):
        raise DataError(f"{path} mixes lists and other values; every identifier needs a list, or every one an object")
    return pd.DataFrame({"attributes": pd.Series(found, dtype=object)})


def is_missing(value: Any) -> bool:
    """Whether a cell is None, NaN, NaT or blank text."""
    if value is None or value is pd.NA:
        return True
    if isinstance(value, str):
        return not value.strip()
    return (isinstance(value, (float, np.floating)) and bool(np.isnan(value))) or value is pd.NaT


def as_text(value: Any) -> str:
    """A cell as an identifier or attribute: whole floats lose their `.0`, booleans are "true" and "false", as filters ask."""
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    return str(value).strip()


def as_list(value: Any, separator: str) -> list[Any]:
    """A cell as a list: an array, text in brackets (JSON, or of `entries_of`'s forms), or text with separators.

    Raises `DataError` for brackets that hold no list.
    """
    if isinstance(value, (list, tuple, np.ndarray)):
        return list(value)
    text = str(value).strip()
    if is_bracketed(text):
        try:
            return list(parse_json(text))
        except ValueError:
            entries = entries_of(text)
        if entries is None:
            raise DataError(f"{text[:LONGEST_VALUE]!r} cannot be read as a list; write it as {FORMS}")
        return list(entries)
    return [word.strip() for word in text.split(separator) if word.strip()]


def item_texts(
    frame: pd.DataFrame, title: str | None, attributes: Iterable[str], list_columns: Iterable[str], separator: str
) -> dict[str, ItemText]:
    """Texts by item identifier, from the title column and the attribute columns; missing cells are left out."""
    names, lists = list(attributes), set(list_columns)
    found: dict[str, dict[str, str | list[str]]] = {str(item): {} for item in frame.index}
    for name in names:
        for item, value in zip(frame.index, frame[name], strict=True):
            if is_missing(value):
                continue
            if name in lists or isinstance(value, (list, tuple, np.ndarray)):
                found[str(item)][name] = [as_text(part) for part in as_list(value, separator) if not is_missing(part)]
            else:
                found[str(item)][name] = as_text(value)
    titles: Iterable[Any] = [None] * len(frame) if title is None else frame[title]
    return {
        str(item): ItemText(None if is_missing(text) else str(text).strip(), found[str(item)])
        for item, text in zip(frame.index, titles, strict=True)
    }


def declared_tables(
    declared: Sequence[DeclaredFeature], side: Side, frame: pd.DataFrame | None, separator: str
) -> list[FeatureTable]:
    """The declared features of one side, read from its table. Raises `DataError` for a missing table or column."""
    chosen = [feature for feature in declared if feature.side == side]
    if not chosen:
        return []
    if frame is None:
        raise DataError(f"the feature {side}:{chosen[0].name} needs a table of {side}s; give --{side}s FILE")
    return [FeatureTable(side, feature.name, feature.kind, _values(feature, frame, separator)) for feature in chosen]


def _values(feature: DeclaredFeature, frame: pd.DataFrame, separator: str) -> dict[str, Any]:
    if feature.kind == "vector" and feature.name not in frame.columns:
        return _joined_vector(feature, frame)
    if feature.name not in frame.columns:
        columns = ", ".join(str(c) for c in list(frame.columns)[:20])
        raise DataError(
            f"the table of {feature.side}s has no column {feature.name!r} for the feature; it has: {columns}"
        )
    column = frame[feature.name]
    known = [(str(row), value) for row, value in zip(frame.index, column, strict=True) if not is_missing(value)]
    if feature.kind == "categorical":
        return {row: as_text(value) for row, value in known}
    if feature.kind == "list":
        return {row: [as_text(v) for v in as_list(value, separator) if not is_missing(v)] for row, value in known}
    try:
        if feature.kind == "numerical":
            return {row: float(value) for row, value in known}
        return {row: np.array(as_list(value, separator), dtype=np.float32) for row, value in known}
    except (TypeError, ValueError) as error:
        raise DataError(
            f"the {feature.kind} feature {feature.side}:{feature.name} has a value that is no number: {error}"
        ) from error


def _joined_vector(feature: DeclaredFeature, frame: pd.DataFrame) -> dict[str, Any]:
    """A vector spread over the columns NAME0, NAME1, … (as Deezer's data set has them)."""
    columns: list[str] = []
    while f"{feature.name}{len(columns)}" in frame.columns:
        columns.append(f"{feature.name}{len(columns)}")
    if not columns:
        raise DataError(
            f"the table of {feature.side}s has neither a column {feature.name!r} nor {feature.name}0, {feature.name}1, …"
        )
    try:
        rows = frame[columns].to_numpy(dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"the vector feature {feature.side}:{feature.name} has a value that is no number: {error}"
        ) from error
    return {str(row): values for row, values in zip(frame.index, rows, strict=True)}
