"""Declared features: raw values by identifier → the arrays of a data folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, get_args

import numpy as np

from sparcode_es import csr
from sparcode_es.data.manifest import Feature, Kind, Side
from sparcode_es.errors import DataError


class SavedFeature(Protocol):
    """What `write_dataset` asks of a feature."""

    @property
    def side(self) -> Side:
        """Whose feature it is."""
        ...

    def save(self, folder: Path, ids: Sequence[str]) -> Feature:
        """Write the feature's arrays for these identifiers; returns its entry of the manifest's schema."""
        ...


KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class FeatureTable:
    """One declared feature with its raw values by identifier.

    Values: text (categorical), a number (numerical), a sequence of numbers (vector), a sequence of texts (list). An
    identifier that is not in `values` is unknown: category 0, number 0 after standardising, a vector of zeros, no list.
    """

    side: Side
    name: str
    kind: Kind
    values: Mapping[str, Any]

    def save(self, folder: Path, ids: Sequence[str]) -> Feature:
        """Write the feature's arrays for these identifiers; returns its entry of the manifest's schema."""
        encode = {"categorical": _categorical, "numerical": _numerical, "vector": _vector, "list": _list}[self.kind]
        arrays, scale, vocabulary = encode(f"{self.side}:{self.name}", [self.values.get(row) for row in ids])
        stem = f"feature.{self.side}.{self.name}"
        for part, array in arrays.items():
            np.save(folder / f"{stem}{part}.npy", array)
        if vocabulary is not None:
            text = json.dumps(vocabulary, ensure_ascii=False)
            (folder / f"{stem}.vocabulary.json").write_bytes(text.encode("utf-8", "surrogatepass"))
        return Feature(self.name, self.side, self.kind, **scale)


Encoded = tuple[dict[str, np.ndarray], dict[str, Any], "list[str] | None"]


def _categorical(_: str, values: list[Any]) -> Encoded:
    words = sorted({value for value in values if value is not None})
    numbers = {word: number for number, word in enumerate(words, start=1)}
    array = np.array([0 if value is None else numbers[value] for value in values], dtype=np.int32)
    return {"": array}, {"size": len(words) + 1}, words


def _numerical(name: str, values: list[Any]) -> Encoded:
    array = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    scaled, mean, deviation = standardised(name, array, np.full(len(array), True))
    return {"": scaled}, {"size": 1, "mean": mean, "deviation": deviation}, None


def standardised(name: str, values: np.ndarray, learned: np.ndarray) -> tuple[np.ndarray, float, float]:
    """A numerical feature with mean 0 and deviation 1, 0 where it is NaN, float32 [n], with the mean and the deviation.

    values: float64 [n]; learned: bool [n], the rows whose mean and deviation count. Raises `DataError` for numbers
    that are infinite, or too large.
    """
    if np.isinf(values).any():
        raise DataError(f"the numerical feature {name} holds an infinite value")
    known = values[learned & ~np.isnan(values)]
    with np.errstate(over="ignore", invalid="ignore"):
        mean, deviation = (float(known.mean()), float(known.std())) if len(known) else (0.0, 0.0)
        scaled = np.where(np.isnan(values), 0, (values - mean) / (deviation or 1.0)).astype(np.float32)
    if not (np.isfinite([mean, deviation]).all() and np.isfinite(scaled).all()):
        raise DataError(f"the numerical feature {name} holds a number too large to be standardised; scale it first")
    return scaled, mean, deviation


def _vector(name: str, values: list[Any]) -> Encoded:
    sizes = {len(value) for value in values if value is not None}
    if len(sizes) > 1:
        raise DataError(f"the vector feature {name} has vectors of different sizes: {sorted(sizes)[:5]}")
    if not sizes or sizes == {0}:
        raise DataError(f"the vector feature {name} has no value for any of the data's rows; check the identifiers")
    array = np.zeros((len(values), sizes.pop()), dtype=np.float32)
    for row, value in enumerate(values):
        if value is not None:
            array[row] = value
    if not np.isfinite(array).all():
        raise DataError(f"the vector feature {name} holds a value that is not a finite number")
    return {"": array}, {"size": array.shape[1]}, None


def _list(_: str, values: list[Any]) -> Encoded:
    words = sorted({word for value in values if value is not None for word in value})
    numbers = {word: number for number, word in enumerate(words, start=1)}
    offsets = csr.offsets_of([0 if value is None else len(value) for value in values])
    flat = [numbers[word] for value in values if value is not None for word in value]
    return {"": np.array(flat, dtype=np.int32), ".offsets": offsets}, {"size": len(words) + 1}, words
