"""The data folder, opened: memory-mapped arrays, identifiers, features, and the cases of its split."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sparcode_es import csr
from sparcode_es.data.filters import repeats
from sparcode_es.data.labels import CONTEXT, TEST, TRAIN, VALID
from sparcode_es.data.manifest import IMPORT, Manifest, Side, folder_of, read_manifest
from sparcode_es.errors import DataError
from sparcode_es.files import parse_json
from sparcode_es.tables import StringTable, read_document

EVENT_FILES = ("events.", "user_ids.", "item_ids.")


@dataclass(frozen=True)
class ListFeature:
    """A list of vocabulary numbers a row: row r is `values[offsets[r]:offsets[r + 1]]`."""

    offsets: np.ndarray
    """uint64 [n + 1]"""
    values: np.ndarray
    """int32 [...], each in 1 … size - 1"""


@dataclass(frozen=True)
class Sequences:
    """Item sequences, oldest first: sequence r is `items[offsets[r]:offsets[r + 1]]` and belongs to `users[r]`."""

    offsets: np.ndarray
    """uint64 [n + 1]"""
    items: np.ndarray
    """uint32 [...]"""
    users: np.ndarray
    """uint32 [n]"""

    def __len__(self) -> int:
        return len(self.users)

    def __getitem__(self, row: int) -> np.ndarray:
        return self.items[int(self.offsets[row]) : int(self.offsets[row + 1])]

    def take(self, rows: np.ndarray) -> Sequences:
        """The sequences of these rows, in this order."""
        offsets, items = _take(self.offsets, self.items, rows)
        return Sequences(offsets, items, self.users[rows])

    @property
    def owners(self) -> np.ndarray:
        """The sequence of each event, int64 [...]."""
        return csr.owners(self.offsets)

    def before(self, places: np.ndarray, most: int) -> Sequences:
        """For each of these places in `items`, int64 [n], the at most `most` events before it in its sequence."""
        owners = self.owners[places]
        starts = np.maximum(self.offsets[owners].astype(np.int64), places - most)
        lengths = places - starts
        return Sequences(csr.offsets_of(lengths), self.items[csr.ranges(starts, lengths)], self.users[owners])


@dataclass(frozen=True)
class Cases:
    """Questions of a split: for each user the history before the first target, and the targets (one or more)."""

    users: np.ndarray
    """uint32 [n]"""
    history_offsets: np.ndarray
    """uint64 [n + 1]"""
    history_items: np.ndarray
    """uint32 [...], oldest first"""
    target_offsets: np.ndarray
    """uint64 [n + 1]"""
    target_items: np.ndarray
    """uint32 [...]"""

    def __len__(self) -> int:
        return len(self.users)

    @property
    def history(self) -> Sequences:
        """The histories as sequences."""
        return Sequences(self.history_offsets, self.history_items, self.users)

    @property
    def targets(self) -> Sequences:
        """The targets as sequences."""
        return Sequences(self.target_offsets, self.target_items, self.users)

    def take(self, rows: np.ndarray) -> Cases:
        """The cases of these rows, in this order."""
        history, targets = self.history.take(rows), self.targets.take(rows)
        return Cases(self.users[rows], history.offsets, history.items, targets.offsets, targets.items)


ScoreFunction = Callable[[np.ndarray], np.ndarray]
"""Rows of some cases, int64 [B] → scores of all items, float32 [B, I]."""


def _take(offsets: np.ndarray, items: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    starts = offsets[:-1].astype(np.int64)[rows]
    lengths = np.diff(offsets.astype(np.int64))[rows]
    return csr.offsets_of(lengths), items[csr.ranges(starts, lengths)]


class Dataset:
    """A data folder: E events of U users on I items, sorted by (user, time, order in the source).

    Attributes: `users` and `items` uint32 [E], `times` int64 [E] (seconds, or 0, 1, 2, … within the user where the source
    has no times), `labels` uint8 [E], `user_offsets` uint64 [U + 1], `user_ids` and `item_ids` (searchable tables of the
    source's identifiers), `manifest`, `name`, `schema` (the declared features).
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path, self.manifest, self._folder = path, manifest, folder_of(path)
        self.name, self.schema, counts = manifest.name, manifest.schema, manifest.counts
        self.num_users, self.num_items, self.num_events = counts.users, counts.items, counts.events
        self.users = self._folder.array("events.users", np.uint32, (self.num_events,))
        self.items = self._folder.array("events.items", np.uint32, (self.num_events,))
        self.times = self._folder.array("events.times", np.int64, (self.num_events,))
        self.labels = self._folder.array("events.labels", np.uint8, (self.num_events,))
        self.user_offsets = self._folder.array("user_offsets", np.uint64, (self.num_users + 1,))
        self.user_ids = StringTable.open(path, "user_ids")
        self.item_ids = StringTable.open(path, "item_ids")
        self._item_docs = StringTable.open(path, "item_docs", searchable=False)
        self._check_fit()

    @classmethod
    def open(cls, path: Path | str, verify: bool = False) -> Dataset:
        """Open a data folder. Raises `DataError` when it is missing, of another version or damaged.

        Sizes are always checked; `verify=True` also recomputes every file's SHA-256.
        """
        path = Path(path)
        manifest = read_manifest(path)
        try:
            folder_of(path).check(manifest.files, verify)
            return cls(path, manifest)
        except (ValueError, OverflowError, OSError) as error:
            raise DataError(f"{path / 'manifest.json'} is damaged ({error!r}); {IMPORT}") from error

    def _check_fit(self) -> None:
        for table, size in ((self.user_ids, self.num_users), (self.item_ids, self.num_items)):
            if len(table) != size:
                raise DataError(f"{self.path} is damaged: an identifier table has {len(table)} rows, not {size}")
        if len(self._item_docs) != self.num_items:
            raise DataError(f"{self.path} is damaged: item_docs has {len(self._item_docs)} rows, not {self.num_items}")
        for name, numbers, bound in (("users", self.users, self.num_users), ("items", self.items, self.num_items)):
            if len(numbers) and int(numbers.max()) >= bound:
                raise DataError(
                    f"{self.path} is damaged: events.{name} holds {numbers.max()} of {bound}; import the data again"
                )
        if (self.user_offsets[1:] < self.user_offsets[:-1]).any():
            raise DataError(f"{self.path} is damaged: user_offsets do not rise; import the data again")
        if int(self.user_offsets[-1]) != self.num_events:
            raise DataError(
                f"{self.path} is damaged: user_offsets end at {self.user_offsets[-1]}, not {self.num_events}"
            )

    def feature(self, side: Side, name: str) -> np.ndarray | ListFeature:
        """A feature's values, one row a user or item.

        categorical: int32 [n]; numerical: float32 [n], standardised, 0 where missing; vector: float32 [n, size]; list:
        `ListFeature`. Raises `DataError` when the schema has no such feature.
        """
        found = next((f for f in self.schema if f.side == side and f.name == name), None)
        if found is None:
            known = ", ".join(f"{f.side}:{f.name}" for f in self.schema) or "none"
            raise DataError(f"{self.path} has no feature {side}:{name}; it has: {known}")
        rows = self.num_users if side == "user" else self.num_items
        stem = f"feature.{side}.{name}"
        if found.kind == "categorical":
            return self._folder.array(stem, np.int32, (rows,))
        if found.kind == "numerical":
            return self._folder.array(stem, np.float32, (rows,))
        if found.kind == "vector":
            return self._folder.array(stem, np.float32, (rows, found.size))
        offsets = self._folder.array(f"{stem}.offsets", np.uint64, (rows + 1,))
        return ListFeature(offsets, self._folder.array(stem, np.int32, (int(offsets[-1]),)))

    def vocabulary(self, side: Side, name: str) -> list[str]:
        """The values of a categorical or list feature: number v stands for entry v - 1, and 0 for unknown."""
        file = self.path / f"feature.{side}.{name}.vocabulary.json"
        try:
            words: list[str] = parse_json(file.read_bytes())
        except (OSError, ValueError) as error:
            raise DataError(f"cannot read {file}: {error}") from error
        return words

    def item_doc(self, item: int) -> dict[str, Any]:
        """`{"title": str or None, "attributes": {name: str or [str]}}` of an item number."""
        document = read_document(self._item_docs, item)
        if document is None:
            raise DataError(
                f"{self.path} is damaged: item_docs holds no document for item number {item}; import the data again"
            )
        return document

    def item_title(self, item: int) -> str:
        """The item's title, or its identifier where it has none."""
        return self.item_doc(item)["title"] or self.item_ids[item]

    def train_sequences(self, with_validation: bool = False, with_test: bool = False) -> Sequences:
        """Each user's TRAIN events in order; users without one are left out.

        with_validation, with_test: VALID or TEST events too, and what stood before them as CONTEXT.
        """
        trained = self.labels == TRAIN
        for label in [VALID] * with_validation + [TEST] * with_test:
            held_out = self.labels == label
            asked = np.bincount(self.users[held_out], minlength=self.num_users) > 0
            trained |= held_out | ((self.labels == CONTEXT) & asked[self.users])
        lengths = np.bincount(self.users[trained], minlength=self.num_users)
        users = np.flatnonzero(lengths)
        return Sequences(csr.offsets_of(lengths[users]), self.items[trained], users.astype(np.uint32))

    def full_histories(self) -> Sequences:
        """All events of every user, of any label: row u is user u."""
        return Sequences(self.user_offsets, self.items, np.arange(self.num_users, dtype=np.uint32))

    def cases(self, split: Literal["valid", "test"]) -> Cases:
        """The split's questions: users with at least one target and one event before it.

        Where the source gave the split, users without an event before it too, with an empty history. An item that a user has
        several times among the targets is one target, where it comes first.
        """
        asked = self.labels == (VALID if split == "valid" else TEST)
        places = np.flatnonzero(asked)
        asked[places[repeats([self.items[places], self.users[places]])]] = False
        lengths = np.bincount(self.users[asked], minlength=self.num_users)
        places = np.flatnonzero(asked)
        first = np.zeros(self.num_users, dtype=np.int64)
        # Backwards, so that the first target of each user is the one that stays.
        first[self.users[places[::-1]]] = places[::-1]
        starts = self.user_offsets[:-1].astype(np.int64)
        users = np.flatnonzero((lengths > 0) & (self.has_cold_users | (first > starts)))
        history = first[users] - starts[users]
        kept = places[np.isin(self.users[places], users)]
        return Cases(
            users.astype(np.uint32),
            csr.offsets_of(history),
            self.items[csr.ranges(starts[users], history)],
            csr.offsets_of(lengths[users]),
            self.items[kept],
        )

    def describe(self) -> dict[str, Any]:
        """Counts, density, length quantiles and the split, as `sparcode_es.data.describe.describe` gives them."""
        from sparcode_es.data.describe import describe

        return describe(self)

    @functools.cached_property
    def events_hash(self) -> str:
        """Twelve hex digits of the events, their split and the identifiers: folders with the same ask the same cases."""
        files = {name: file.sha256 for name, file in self.manifest.files.items() if name.startswith(EVENT_FILES)}
        return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def has_cold_users(self) -> bool:
        """Whether users without a history are asked too: the split came with the source (protocol `given`)."""
        return self.manifest.split.protocol == "given"

    @property
    def has_times(self) -> bool:
        """Whether the source had timestamps."""
        return self.manifest.source.has_times
