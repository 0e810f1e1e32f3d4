"""A log of later events → item numbers behind the histories of an artifact's users; a log that cannot be meant is refused."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from sparcode_es import csr
from sparcode_es.data.dataset import Dataset, Sequences
from sparcode_es.data.events import Events
from sparcode_es.data.labels import TEST, VALID
from sparcode_es.errors import DataError, MismatchError
from sparcode_es.files import check_replaceable
from sparcode_es.postings.artifact import NO_TIME, Artifact
from sparcode_es.postings.manifest import MANIFEST_KEYS, source_of
from sparcode_es.postings.prune import updatable_config

Split = Literal["valid", "test"]
LABELS: dict[Split, int] = {"valid": VALID, "test": TEST}


@dataclass(frozen=True)
class Log:
    """New events, and the file that they came from."""

    name: str
    sha256: str
    events: Events


@dataclass(frozen=True)
class NewEvents:
    """The new events on known items, each user's in order of time."""

    sequences: Sequences
    """One row a user with new events; `users` are rows of the artifact (U of them), then U, U + 1, … for new ones."""
    new_users: list[str]
    unknown_events: int
    """Events on items that the model does not know."""
    unknown_items: int
    user_times: np.ndarray
    """The last event of each row of `sequences`, int64 [n], whole seconds; NO_TIME for a log without times."""
    times: tuple[int, int] | None
    """The first and the last; None for a log without times."""


def no_events(unknown_events: int = 0, unknown_items: int = 0) -> NewEvents:
    """Nothing, but for events on items that the model does not know."""
    nothing = Sequences(np.zeros(1, np.uint64), np.zeros(0, np.uint32), np.zeros(0, np.uint32))
    return NewEvents(nothing, [], unknown_events, unknown_items, np.zeros(0, np.int64), None)


@dataclass(frozen=True)
class Fold:
    """Later events and the artifact that they are to be folded into, checked as far as it takes no model."""

    artifact: Artifact
    dataset: Dataset
    """What the artifact was built from."""
    out: Path
    """Where the updated artifact is written."""
    sources: list[tuple[str, str]]
    """Name and SHA-256 of the data folder's splits, then of the log."""
    new: NewEvents
    held_out: np.ndarray
    """Which of the data folder's events are folded in too, bool, one an event."""
    splits: tuple[Split, ...]

    @property
    def is_empty(self) -> bool:
        """Whether there is no event to fold in."""
        return not len(self.new.sequences.items) and not self.held_out.any()


def checked_fold(
    artifact: Artifact, dataset: Dataset, out: Path, log: Log | None, splits: Sequence[Split] = ()
) -> Fold:
    """A log, and with `splits` the data folder's own held-out events, to be folded into an artifact of that data.

    Raises `StorageError` for a place that holds something else, `ArtifactError` for postings that were cut per item,
    `MismatchError` for other data than the artifact's, and `DataError` for a log of other data, one that was folded in before or
    goes back.
    """
    check_replaceable(out, "postings artifact", MANIFEST_KEYS)
    updatable_config(artifact)
    require_same_users(artifact, dataset)
    sources = [(source_of(split), split_digest(dataset, split)) for split in splits]
    sources += [] if log is None else [(log.name, log.sha256)]
    require_new(artifact, sources)
    new = no_events() if log is None else number_events(log, artifact, dataset)
    held_out = np.isin(dataset.labels, [LABELS[split] for split in splits])
    return Fold(artifact, dataset, out, sources, new, held_out, tuple(splits))


def number_events(log: Log, artifact: Artifact, dataset: Dataset) -> NewEvents:
    """Numbers for a log's identifiers. Raises `DataError` for a log of other data, or one that is not new."""
    items = _rows(artifact.item_ids.find, log.events.item_ids)[log.events.items]
    known = items >= 0
    unknown_events, unknown_items = int((~known).sum()), len(np.unique(log.events.items[~known]))
    if not known.any():
        if unknown_events and (_rows(artifact.user_ids.find, log.events.user_ids) < 0).all():
            raise DataError(
                f"none of the {unknown_events} events of {log.name} is on an item that the model knows, or of a user whom "
                f"{artifact.path} knows; is it another data set's log?"
            )
        return no_events(unknown_events, unknown_items)
    events = log.events.select(known)
    rows, new_users = _user_rows(events, artifact)
    order = events.by_user_and_time()
    order = order[np.argsort(rows[events.users[order]], kind="stable")]
    users, lengths = np.unique(rows[events.users], return_counts=True)
    offsets = csr.offsets_of(lengths)
    sequences = Sequences(offsets, items[known][order].astype(np.uint32), users.astype(np.uint32))
    times = None if events.times is None else np.floor(events.times[order]).astype(np.int64)
    later = np.zeros(len(users), dtype=bool)
    if times is not None:
        last = _last_times(artifact, dataset, sequences)
        _refuse_old_events(log, sequences, times, last, artifact, dataset)
        later = (last != NO_TIME) & (times[offsets[:-1].astype(np.int64)] > last)
    _refuse_repetition(log, sequences, later, artifact)
    return NewEvents(
        sequences,
        new_users,
        unknown_events,
        unknown_items,
        np.full(len(users), NO_TIME) if times is None else times[offsets[1:].astype(np.int64) - 1],
        None if times is None else (int(times.min()), int(times.max())),
    )


def longer_histories(artifact: Artifact, new: Sequences) -> tuple[Sequences, np.ndarray]:
    """The seen items of the users with new events, followed by those: sequences, and which events are new, bool."""
    rows = new.users[new.users < artifact.num_users]
    seen = Sequences(
        artifact.user_seen_offsets, artifact.user_seen_items, np.arange(artifact.num_users, dtype=np.uint32)
    )
    old = seen.take(rows.astype(np.int64))
    # New users come after all others, so that the first rows of `new` are those of `old`.
    owners = np.concatenate([old.owners, new.owners])
    order = np.argsort(owners, kind="stable")
    offsets = csr.offsets_of(np.bincount(owners, minlength=len(new)))
    items = np.concatenate([old.items, new.items])[order]
    return Sequences(offsets, items, new.users), order >= len(old.items)


def require_new(artifact: Artifact, sources: list[tuple[str, str]]) -> None:
    """Raise `DataError` when one of these (name, SHA-256) was folded in before: its events would count twice."""
    known = {source.sha256 for update in artifact.manifest.updates for source in update.sources}
    for name, digest in sources:
        if digest in known:
            raise DataError(f"{name} was folded into {artifact.path} before; give a log of events that came after it")


def require_same_users(artifact: Artifact, dataset: Dataset) -> None:
    """Raise `MismatchError` unless the artifact's items and first users are the data's."""
    users = (artifact.user_ids[row] for row in range(min(dataset.num_users, artifact.num_users)))
    if artifact.num_users < dataset.num_users or list(users) != list(dataset.user_ids):
        raise MismatchError(
            f"{artifact.path} holds other users than {dataset.path}; give the data that it was built from"
        )


def split_digest(dataset: Dataset, split: Split) -> str:
    """What tells a data folder's held-out events from others'."""
    labels = dataset.manifest.files["events.labels.npy"].sha256
    items = dataset.manifest.files["events.items.npy"].sha256
    return hashlib.sha256(f"{split} {labels} {items}".encode()).hexdigest()


def _rows(find: object, identifiers: list[str]) -> np.ndarray:
    """The row of each identifier, -1 for an unknown one, int64 [n]."""
    assert callable(find)
    rows = [find(text) for text in identifiers]
    return np.array([-1 if row is None else row for row in rows], dtype=np.int64)


def _user_rows(events: Events, artifact: Artifact) -> tuple[np.ndarray, list[str]]:
    """The artifact's row of each of the events' users, int64 [n], and the new users, which get the rows after the last."""
    rows = _rows(artifact.user_ids.find, events.user_ids)
    new = np.flatnonzero(rows < 0)
    rows[new] = artifact.num_users + np.arange(len(new))
    return rows, [events.user_ids[number] for number in new]


def _last_times(artifact: Artifact, dataset: Dataset, new: Sequences) -> np.ndarray:
    """The last time that data folder and earlier logs hold of each of the new events' users, int64 [n]; NO_TIME for none."""
    last = np.full(max(artifact.num_users, int(new.users.max()) + 1), NO_TIME)
    last[: artifact.num_users] = artifact.user_times
    if dataset.has_times:
        ends = dataset.user_offsets[1:].astype(np.int64)
        filled = np.flatnonzero(np.diff(dataset.user_offsets.astype(np.int64)))
        last[filled] = np.maximum(last[filled], dataset.times[ends[filled] - 1])
    of_users: np.ndarray = last[new.users]
    return of_users


def _refuse_old_events(
    log: Log, new: Sequences, times: np.ndarray, last: np.ndarray, artifact: Artifact, dataset: Dataset
) -> None:
    """Raise `DataError` when the log goes back behind `last`, what is held of each user, or begins with the end of it: those
    events would count twice. What has no times tells nothing."""
    late = np.flatnonzero(times < last[new.owners])
    if len(late):
        first = int(new.users[new.owners[late[0]]])
        raise DataError(
            f"{len(late)} of the {len(times)} events of {log.name} are older than the last that {dataset.path} and "
            f"{artifact.path} hold of their user ({artifact.user_ids[first]}, for one), and would count twice or out of order; "
            "give only the events that came after it"
        )
    at_last = np.bincount(new.owners[times == last[new.owners]], minlength=len(new))
    asked = np.flatnonzero(at_last)
    repeated = sum(
        _continues(artifact.user_seen(int(new.users[row])), new[row][: at_last[row]]) for row in asked.tolist()
    )
    _refuse_most(repeated, len(asked), f"the last events of the histories that {artifact.path} holds", log)


def _continues(history: np.ndarray, items: np.ndarray) -> bool:
    """Whether the history ends with what the items begin with."""
    longest = min(len(history), len(items))
    return any(np.array_equal(history[-length:], items[:length]) for length in range(1, longest + 1))


def _refuse_repetition(log: Log, new: Sequences, later: np.ndarray, artifact: Artifact) -> None:
    """Raise `DataError` when most known users' events begin with their whole history: the log is all of it, not what came
    after it. Histories of one event tell nothing, and who has only `later` events, bool [n], is not asked."""
    asked = repeated = 0
    for row, user in enumerate(new.users[new.users < artifact.num_users].tolist()):
        history = artifact.user_seen(user)
        if len(history) > 1 and not later[row]:
            asked += 1
            repeated += np.array_equal(new[row][: len(history)], history)
    _refuse_most(repeated, asked, f"the histories that {artifact.path} holds", log)


def _refuse_most(repeated: int, asked: int, what: str, log: Log) -> None:
    """Raise `DataError` when a log repeats what is held of most of the users whom that can be told of."""
    if repeated > asked / 2:
        raise DataError(
            f"{log.name} repeats {what} ({repeated} of {asked} users), which would count twice; give only the events that "
            "came after them"
        )
