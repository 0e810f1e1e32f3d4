"""Side tables (items, users) as frames indexed by identifier → item texts and declared features."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from sparcode_es.data.dataset import Kind, Side
from sparcode_es.data.features import KINDS, FeatureTable
from sparcode_es.data.write import ItemText
from sparcode_es.errors import DataError


@dataclass(frozen=True)
class FeatureSpec:
    """A feature that a user declares: which side, which column of its table, and how it is read."""

    side: Side
    name: str
    kind: Kind

    @classmethod
    def parse(cls, text: str) -> FeatureSpec:
        """From `SIDE:NAME:KIND`, as on the command line."""
        parts = text.split(":")
        if len(parts) != 3 or parts[0] not in ("user", "item") or parts[2] not in KINDS or not parts[1]:
            kinds = ", ".join(KINDS)
            raise DataError(
                f"a feature is declared as SIDE:NAME:KIND (sides: user, item; kinds: {kinds}), not {text!r}"
            )
        if re.search(r"[/\\\0]", parts[1]) or parts[1].startswith("."):
            raise DataError(f"the feature name {parts[1]!r} cannot be part of a file name; rename the column")
        return cls(parts[0], parts[1], parts[2])  # type: ignore[arg-type]


def is_missing(value: Any) -> bool:
    """Whether a cell is None, NaN, NaT or blank text."""
    if value is None or value is pd.NA:
        return True
    if isinstance(value, str):
        return not value.strip()
    return (isinstance(value, (float, np.floating)) and bool(np.isnan(value))) or value is pd.NaT


def as_text(value: Any) -> str:
    """A cell as an identifier or attribute: whole floats lose their `.0`."""
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    return str(value).strip()


def as_list(value: Any, separator: str) -> list[Any]:
    """A cell as a list: an array, text in brackets (with or without commas), or text with separators."""
    if isinstance(value, (list, tuple, np.ndarray)):
        return list(value)
    text = str(value).strip()
    if text.startswith("[") and text.endswith("]"):
        try:
            parsed = json.loads(text)
        except ValueError:
            return [word.strip("'\"") for word in re.split(r"[,\s]+", text[1:-1].strip()) if word]
        return list(parsed)
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


def feature_tables(
    specs: Sequence[FeatureSpec], side: Side, frame: pd.DataFrame | None, separator: str
) -> list[FeatureTable]:
    """The declared features of one side, read from its table. Raises `DataError` for a missing table or column."""
    chosen = [spec for spec in specs if spec.side == side]
    if not chosen:
        return []
    if frame is None:
        raise DataError(f"the feature {side}:{chosen[0].name} needs a table of {side}s; give --{side}s FILE")
    return [FeatureTable(side, spec.name, spec.kind, _values(spec, frame, separator)) for spec in chosen]


def _values(spec: FeatureSpec, frame: pd.DataFrame, separator: str) -> dict[str, Any]:
    if spec.kind == "vector" and spec.name not in frame.columns:
        return _joined_vector(spec, frame)
    if spec.name not in frame.columns:
        columns = ", ".join(str(c) for c in list(frame.columns)[:20])
        raise DataError(f"the table of {spec.side}s has no column {spec.name!r} for the feature; it has: {columns}")
    column = frame[spec.name]
    known = [(str(row), value) for row, value in zip(frame.index, column, strict=True) if not is_missing(value)]
    if spec.kind == "categorical":
        return {row: as_text(value) for row, value in known}
    if spec.kind == "list":
        return {row: [as_text(v) for v in as_list(value, separator) if not is_missing(v)] for row, value in known}
    try:
        if spec.kind == "numerical":
            return {row: float(value) for row, value in known}
        return {row: np.array(as_list(value, separator), dtype=np.float32) for row, value in known}
    except (TypeError, ValueError) as error:
        raise DataError(
            f"the {spec.kind} feature {spec.side}:{spec.name} has a value that is no number: {error}"
        ) from error


def _joined_vector(spec: FeatureSpec, frame: pd.DataFrame) -> dict[str, Any]:
    """A vector spread over the columns NAME0, NAME1, … (as Deezer's data set has them)."""
    columns: list[str] = []
    while f"{spec.name}{len(columns)}" in frame.columns:
        columns.append(f"{spec.name}{len(columns)}")
    if not columns:
        raise DataError(
            f"the table of {spec.side}s has neither a column {spec.name!r} nor {spec.name}0, {spec.name}1, …"
        )
    try:
        rows = frame[columns].to_numpy(dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise DataError(f"the vector feature {spec.side}:{spec.name} has a value that is no number: {error}") from error
    return {str(row): values for row, values in zip(frame.index, rows, strict=True)}
