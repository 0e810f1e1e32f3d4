"""Writing a data folder: filter, sort, split, features, manifest; all of it or nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from sparcode_es import __version__, csr
from sparcode_es.data.dataset import Dataset
from sparcode_es.data.events import Events
from sparcode_es.data.features import SavedFeature
from sparcode_es.data.filters import k_core, repeated
from sparcode_es.data.labels import LABEL_NAMES, TRAIN
from sparcode_es.data.manifest import MANIFEST_KEYS, Counts, KCore, LogSource, Manifest, write_manifest
from sparcode_es.data.splits import SplitOptions, label_events
from sparcode_es.errors import DataError
from sparcode_es.files import atomic_folder, check_replaceable, sums_of
from sparcode_es.tables import StringTable


@dataclass(frozen=True)
class ItemText:
    """What is shown of an item and filtered on: a title, and attributes with one or several values as text."""

    title: str | None = None
    attributes: dict[str, str | list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Preparation:
    """What happens to events on their way into the folder."""

    split: SplitOptions = field(default_factory=SplitOptions)
    k_core: KCore = field(default_factory=KCore)
    """Applied to users and items in turns, to a fixed point."""
    drop_duplicates: bool = False


def write_dataset(
    path: Path,
    name: str,
    events: Events,
    source: LogSource,
    preparation: Preparation | None = None,
    items: dict[str, ItemText] | None = None,
    features: Sequence[SavedFeature] = (),
    user_labels: Mapping[str, int] | None = None,
) -> Dataset:
    """Filter, sort and split the events, and write the folder in one piece (an old data folder of that name is replaced).

    `items`: texts by item identifier; `features`: values by identifier; `user_labels`: TRAIN, VALID or TEST by user
    identifier, for a split that is `given`. Raises `DataError` when no event is left, and
    `StorageError` when the folder cannot be written or something else is in its place.
    """
    check_replaceable(path, "data folder", MANIFEST_KEYS)
    preparation = preparation or Preparation()
    kept, removed = _filtered(events, preparation, source)
    ordered = kept.in_natural_order()
    by_time = ordered.by_user_and_time()
    users, event_items = ordered.users[by_time].astype(np.uint32), ordered.items[by_time].astype(np.uint32)
    lengths = np.bincount(users, minlength=len(ordered.user_ids))
    offsets = csr.offsets_of(lengths)
    times = None if ordered.times is None else ordered.times[by_time]
    given = None if user_labels is None else np.array([user_labels[user] for user in ordered.user_ids], dtype=np.uint8)
    labels = label_events(offsets, times, preparation.split, given)
    arrays = {
        "events.users": users,
        "events.items": event_items,
        "events.times": csr.ranges(0, lengths) if times is None else np.floor(times).astype(np.int64),
        "events.labels": labels,
        "user_offsets": offsets,
    }
    tables = {"user": StringTable.build(ordered.user_ids), "item": StringTable.build(ordered.item_ids)}
    counts = Counts(
        users=len(ordered.user_ids),
        items=len(ordered.item_ids),
        events=len(users),
        **{name: int((labels == label).sum()) for label, name in LABEL_NAMES.items()},
        **removed,
    )
    if not (labels == TRAIN).any():
        raise DataError(
            "no event is left to train on: every one lies in validation or test; move --valid-from and --test-from"
        )
    with atomic_folder(path) as folder:
        for stem, array in arrays.items():
            np.save(folder / f"{stem}.npy", array)
        tables["user"].save(folder, "user_ids")
        tables["item"].save(folder, "item_ids")
        StringTable.build(_documents(ordered.item_ids, items or {}), searchable=False).save(folder, "item_docs")
        ids = {"user": ordered.user_ids, "item": ordered.item_ids}
        schema = tuple(feature.save(folder, ids[feature.side]) for feature in features)
        manifest = Manifest(
            sparcode_es=__version__,
            name=name,
            source=replace(source, has_times=times is not None),
            counts=counts,
            split=preparation.split,
            k_core=preparation.k_core,
            schema=schema,
            files=sums_of(folder),
        )
        write_manifest(folder, manifest)
    return Dataset.open(path)


def _filtered(events: Events, preparation: Preparation, source: LogSource) -> tuple[Events, dict[str, int]]:
    """The events that stay, and how many were bad, repeated, dropped and outside the k-core."""
    counts = {"bad_rows": events.report.bad, "duplicates": 0, "dropped_duplicates": 0, "outside_k_core": 0}
    if len(events) == 0:
        raise DataError(f"there is no event to import: {source.file} is empty, or all of its rows are bad")
    repeats = repeated(events)
    counts["duplicates"] = int(repeats.sum())
    if preparation.drop_duplicates and counts["duplicates"]:
        events = events.select(~repeats)
        counts["dropped_duplicates"] = counts["duplicates"]
    least = preparation.k_core
    if least.min_user > 1 or least.min_item > 1:
        kept = k_core(events.users, events.items, least.min_user, least.min_item)
        counts["outside_k_core"] = int((~kept).sum())
        if not kept.any():
            bounds = f"{least.min_user} events a user and {least.min_item} an item"
            raise DataError(f"no event is left with at least {bounds}; choose a smaller k-core")
        events = events.select(kept)
    return events, counts


def _documents(ids: Sequence[str], items: dict[str, ItemText]) -> list[str]:
    nothing = ItemText()
    return [json.dumps(asdict(items.get(item, nothing)), ensure_ascii=False, separators=(",", ":")) for item in ids]
