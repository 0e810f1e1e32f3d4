"""From a file to a data folder: read, read the side tables, write."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sparcode_es.data.dataset import Dataset
from sparcode_es.data.movielens import read_movielens
from sparcode_es.data.sequences import Layout, read_sequences
from sparcode_es.data.side import FeatureSpec, feature_tables, item_texts
from sparcode_es.data.text import read_bytes
from sparcode_es.data.write import Preparation, Source, write_dataset
from sparcode_es.files import sha256_of

MOVIELENS_FEATURES = (
    FeatureSpec("user", "age", "numerical"),
    FeatureSpec("user", "gender", "categorical"),
    FeatureSpec("user", "occupation", "categorical"),
)
"""The features of MovieLens, where the copy at hand has its users' columns."""


def import_movielens(
    path: Path,
    out: Path,
    name: str,
    preparation: Preparation,
    features: Sequence[FeatureSpec] = MOVIELENS_FEATURES,
    skip_bad_rows: bool = False,
) -> Dataset:
    """MovieLens from a folder, an archive or a ratings file."""
    found = read_movielens(path, skip_bad_rows)
    texts = {} if found.items is None else item_texts(found.items, "title", ["genres", "year"], ["genres"], "|")
    if found.users is None and features is MOVIELENS_FEATURES:
        features = ()
    tables = [
        *feature_tables(features, "user", found.users, "|"),
        *feature_tables(features, "item", found.items, "|"),
    ]
    digest = sha256_of(path) if path.is_file() else ""
    return write_dataset(out, name, found.events, Source(path.name, digest, "movielens"), preparation, texts, tables)


def import_sequences(
    path: Path,
    out: Path,
    name: str,
    preparation: Preparation,
    layout: Layout = "auto",
    skip_bad_rows: bool = False,
) -> Dataset:
    """A `sequences` file, gzip or not."""
    events = read_sequences(read_bytes(path), str(path), layout, skip_bad_rows)
    return write_dataset(out, name, events, Source(path.name, sha256_of(path), "sequences"), preparation)
