"""What a data folder holds, in figures."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from sparcode_es.config import to_mapping
from sparcode_es.data.splits import Protocol, SplitOptions

if TYPE_CHECKING:
    from sparcode_es.data.dataset import Dataset

READ_BY: dict[Protocol, tuple[str, ...]] = {
    "leave-one-out": (),
    "leave-last-out": ("last",),
    "users": ("seed", "held_out", "context"),
    "temporal": ("held_out", "valid_from", "test_from"),
    "given": (),
}
"""What each protocol of a split reads of `SplitOptions`."""
QUANTILES = (0.0, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0)


def describe(dataset: Dataset) -> dict[str, Any]:
    """Counts, density (the share of all user-item pairs that occur), quantiles of events a user and an item, the split."""
    manifest, counts = dataset.manifest, asdict(dataset.manifest.counts)
    titles, attributes = texts_of(dataset)
    pairs = np.unique(dataset.users.astype(np.int64) * dataset.num_items + dataset.items)
    times = dataset.times if dataset.has_times else None
    return {
        "name": dataset.name,
        "path": str(dataset.path),
        "source": asdict(manifest.source),
        "users": dataset.num_users,
        "items": dataset.num_items,
        "events": dataset.num_events,
        "density": len(pairs) / (dataset.num_users * dataset.num_items),
        "first_time": None if times is None else _iso(times.min()),
        "last_time": None if times is None else _iso(times.max()),
        "events_per_user": _quantiles(np.diff(dataset.user_offsets.astype(np.int64))),
        "events_per_item": _quantiles(np.bincount(dataset.items, minlength=dataset.num_items)),
        "labels": {name: counts[name] for name in ("train", "valid", "test", "context")},
        "cases": {split: len(dataset.cases(split)) for split in ("valid", "test")},
        "split": _split(manifest.split),
        "k_core": asdict(manifest.k_core),
        "removed": {name: counts[name] for name in ("bad_rows", "duplicates", "dropped_duplicates", "outside_k_core")},
        "items_with_title": titles,
        "attributes": attributes,
        "features": [
            f"{f.side}:{f.name}:{f.kind} ({f.size}{', a target' if f.role == 'target' else ''})" for f in dataset.schema
        ],
    }


def texts_of(dataset: Dataset) -> tuple[int, dict[str, int]]:
    """How many items have a title, and how many have each attribute, by its name."""
    titles, attributes = 0, Counter[str]()
    for item in range(dataset.num_items):
        document = dataset.item_doc(item)
        titles += bool(document["title"])
        attributes.update(document["attributes"].keys())
    return titles, dict(sorted(attributes.items()))


def _split(split: SplitOptions) -> dict[str, Any]:
    """The settings that the split's protocol reads and that were given."""
    read = {"protocol", *READ_BY[split.protocol]}
    return {name: value for name, value in to_mapping(split).items() if name in read}


def _quantiles(lengths: np.ndarray) -> dict[str, float]:
    found = np.quantile(lengths, QUANTILES)
    return {"mean": float(lengths.mean()), **{f"{q:g}": float(v) for q, v in zip(QUANTILES, found, strict=True)}}


def _iso(seconds: np.int64) -> str:
    """UTC, ISO 8601."""
    return f"{np.datetime64(int(seconds), 's')}Z"
