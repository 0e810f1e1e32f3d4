"""Deezer's cold-start data set: a folder of Parquet files (see `sparcode_es.data.deezer_files`) → a data folder.

The files hold gigabytes: they are read some columns and some rows at a time, and a field goes to the data folder's array as it
is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sparcode_es.data.dataset import Dataset
from sparcode_es.data.deezer_files import PARTS, SONGS, USERS, Embeddings, feature_names
from sparcode_es.data.events import Events, ReadReport
from sparcode_es.data.features import SavedFeature, standardised
from sparcode_es.data.labels import TRAIN
from sparcode_es.data.manifest import Feature, LogSource, Role, Side
from sparcode_es.data.splits import SplitOptions
from sparcode_es.data.vectors import batches, column_names, ragged, side_by_side, vectors, whole_numbers
from sparcode_es.data.write import Preparation, write_dataset
from sparcode_es.errors import DataError
from sparcode_es.files import sha256_of

FIELD = re.compile(r"(.+_embedding)(\d+)")
KEYS = ("user_index", "d1d30_songs")


def feature_file(folder: Path, part: str, kind: Embeddings) -> Path:
    """The file of the users of a part. Raises `DataError` when there is none."""
    names = feature_names(part, kind)
    found = next((folder / name for name in names if (folder / name).is_file()), None)
    if found is None:
        raise DataError(
            f"{folder} has neither {names[0]} nor {names[1]}; `sparcode-es data fetch deezer` gets the files"
        )
    return found


@dataclass(frozen=True)
class Rows:
    """Where rows of some files go: file, and for each of its rows the row of the result (-1: left out), int64 [n]."""

    files: tuple[tuple[Path, np.ndarray], ...]

    def of(self, columns: Sequence[str]) -> Iterator[tuple[np.ndarray, list[Any], str]]:
        """Rows of the result, the columns' cells, and what to call them in an error; a batch at a time."""
        for path, places in self.files:
            begin = 0
            for cells in batches(path, columns):
                yield places[begin : begin + len(cells[0])], cells, f"{columns[0]} of {path}"
                begin += len(cells[0])


@dataclass(frozen=True)
class VectorColumns:
    """A vector feature in one column of vectors, or in one column a number; rows that no file has are zeros."""

    side: Side
    name: str
    columns: tuple[str, ...]
    rows: Rows
    role: Role = "input"

    def save(self, folder: Path, ids: Sequence[str]) -> Feature:
        """Stream the vectors into the feature's array; returns its entry of the manifest's schema."""
        array: np.memmap | None = None
        for places, cells, source in self.rows.of(self.columns):
            read = vectors(cells[0], source) if len(self.columns) == 1 else side_by_side(cells, source)
            if array is None:
                path, shape = folder / f"feature.{self.side}.{self.name}.npy", (len(ids), read.shape[1])
                array = np.lib.format.open_memmap(path, "w+", np.dtype(np.float32), shape)
            if read.shape[1] != array.shape[1]:
                raise DataError(f"{source} has vectors of {read.shape[1]} numbers, others have {array.shape[1]}")
            array[places[places >= 0]] = read[places >= 0]
        if array is None:
            raise DataError(f"the files of the feature {self.side}:{self.name} have no row")
        array.flush()
        return Feature(self.name, self.side, "vector", array.shape[1], self.role)


@dataclass(frozen=True)
class ScalarColumn:
    """A numerical feature, standardised by the mean and deviation of the training users.

    A count (`nb_…`) that is missing is 0, as in the authors' experiments; any other missing number is the mean.
    """

    name: str
    rows: Rows
    trained: np.ndarray
    """bool [U]"""
    side: Side = "user"

    def save(self, folder: Path, ids: Sequence[str]) -> Feature:
        """Write the feature's array; returns its entry of the manifest's schema."""
        array = np.full(len(ids), np.nan)
        for places, (cells,), _source in self.rows.of([self.name]):
            array[places] = cells.to_numpy(zero_copy_only=False).astype(np.float64)
        if self.name.startswith("nb_"):
            array = np.nan_to_num(array, nan=0.0)
        scaled, mean, deviation = standardised(f"{self.side}:{self.name}", array, self.trained)
        np.save(folder / f"feature.{self.side}.{self.name}.npy", scaled)
        return Feature(self.name, self.side, "numerical", 1, mean=mean, deviation=deviation)


def field_columns(names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Field → its columns in order, found by name: X_embedding0, X_embedding1, … Raises `DataError` for a gap or none."""
    found: dict[str, dict[int, str]] = {}
    for name in names:
        match = FIELD.fullmatch(name)
        if match is not None:
            found.setdefault(match[1], {})[int(match[2])] = name
    if not found:
        raise DataError(f"there is no column X_embedding0, X_embedding1, …; there are: {', '.join(names[:20])}")
    for field, columns in found.items():
        if sorted(columns) != list(range(len(columns))):
            raise DataError(f"the field {field} lacks some of its columns {field}0 … {field}{max(columns)}")
    return {field: tuple(columns[number] for number in range(len(columns))) for field, columns in found.items()}


def read_events(folder: Path, kind: Embeddings) -> tuple[Events, dict[str, int]]:
    """(user, song) of every d1d30_songs, a song once a user; all songs are items. And each user's label.

    Raises `DataError` for a user in two files, and a song that `song_embeddings.parquet` lacks.
    """
    songs = whole_numbers(folder / SONGS, "song_index")
    order = np.argsort(songs)
    report, users, items = ReadReport(), [], []
    labels: dict[str, int] = {}
    for part, label in PARTS.items():
        path = feature_file(folder, part, kind)
        for numbers, listened in batches(path, KEYS):
            lengths, heard = ragged(listened, f"d1d30_songs of {path}")
            place = np.minimum(np.searchsorted(songs, heard, sorter=order), len(songs) - 1)
            unknown = songs[order[place]] != heard
            if unknown.any():
                raise DataError(f"{path} names the song {heard[unknown][0]:.0f}, which {folder / SONGS} lacks")
            fresh = dict.fromkeys(map(str, numbers.to_pylist()), label)
            if len(fresh) < len(numbers) or not labels.keys().isdisjoint(fresh):
                raise DataError(f"{path} has a user_index that another row or file has too")
            users.append(np.repeat(np.arange(len(numbers)) + len(labels), lengths))
            items.append(order[place])
            labels |= fresh
    pairs = np.stack([np.concatenate(users), np.concatenate(items)], axis=1)
    report.rows = len(labels)
    kept = np.sort(np.unique(pairs, axis=0, return_index=True)[1])
    user, item = pairs[kept].T
    return Events(user, item, None, list(labels), [str(song) for song in songs], report), labels


def read_features(folder: Path, kind: Embeddings, labels: dict[str, int]) -> list[SavedFeature]:
    """The users' fields, scalars and (as a target) embeddings, and the songs' embeddings."""
    users = np.sort(np.array([int(user) for user in labels]))
    trained = np.array([labels[str(user)] == TRAIN for user in users])
    songs = whole_numbers(folder / SONGS, "song_index")
    files = [feature_file(folder, part, kind) for part in PARTS]
    rows = Rows(tuple((path, _places(users, whole_numbers(path, "user_index"))) for path in files))
    names = column_names(files[0])
    fields = field_columns(names)
    scalars = [name for name in names if name not in KEYS and not FIELD.fullmatch(name)]
    warm = Rows(((folder / USERS, _places(users, whole_numbers(folder / USERS, "user_index"))),))
    of_songs = Rows(((folder / SONGS, _places(np.sort(songs), songs)),))
    return [
        *(VectorColumns("user", field, columns, rows) for field, columns in fields.items()),
        *(ScalarColumn(name, rows, trained) for name in scalars),
        VectorColumns("user", "embedding", (f"{kind}_embeddings",), warm, "target"),
        VectorColumns("item", "embedding", (f"features_{kind}",), of_songs),
    ]


def _places(known: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """The row of each number among the sorted known ones, -1 where there is none, int64 [n]."""
    place = np.minimum(np.searchsorted(known, numbers), len(known) - 1)
    return np.where(known[place] == numbers, place, -1)


def import_deezer(folder: Path, out: Path, name: str, kind: Embeddings) -> Dataset:
    """Read the folder and write the data folder `out`, users split as the files have them.

    Raises `DataError` for missing files and columns, and cells that are not what they should be.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; the Deezer format is a folder of Parquet files")
    events, labels = read_events(folder, kind)
    preparation, source = (
        Preparation(SplitOptions("given")),
        LogSource(folder.name, sha256_of(folder), f"deezer-{kind}"),
    )
    return write_dataset(
        out, name, events, source, preparation, features=read_features(folder, kind, labels), user_labels=labels
    )
