"""What a data folder says of itself: manifest.json, checked when it is read, and written from the same dataclasses."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sparcode_es.arrays import ArrayFolder, unreadable
from sparcode_es.config import from_mapping, to_mapping
from sparcode_es.data.splits import SplitOptions
from sparcode_es.errors import ConfigError, DataError
from sparcode_es.files import FileSum

SCHEMA_VERSION = 1
MANIFEST_KEYS = frozenset({"schema_version", "name", "counts", "schema", "files"})
"""What tells a data folder's manifest.json from another kind's. `Manifest` says what it has to hold."""
IMPORT = "import the data again"
Side = Literal["user", "item"]
Kind = Literal["categorical", "numerical", "vector", "list"]
Role = Literal["input", "target"]


@dataclass(frozen=True)
class Feature:
    """One feature of users or items.

    `size` is the vocabulary + 1 (categorical and list; 0 is unknown), 1 (numerical) or the dimension (vector). A `target`
    is something to learn, such as the embeddings that only warm users have: no tokenizer reads it.
    """

    name: str
    side: Side
    kind: Kind
    size: int
    role: Role = "input"
    mean: float | None = None
    """What was subtracted from a numerical feature, and by what it was divided then; None for the other kinds."""
    deviation: float | None = None


@dataclass(frozen=True)
class LogSource:
    """Where the events came from."""

    file: str
    sha256: str
    """Of the file, or of the names and contents of the folder's files."""
    format: str
    has_times: bool = False
    """Whether it had timestamps."""


@dataclass(frozen=True, kw_only=True)
class Counts:
    """How many of what the folder has, the events by their labels too, and how many were left out."""

    users: int
    items: int
    events: int
    train: int
    valid: int
    test: int
    context: int
    bad_rows: int
    duplicates: int
    """Events that repeat an earlier one, whether they were dropped or not."""
    dropped_duplicates: int
    outside_k_core: int


@dataclass(frozen=True)
class KCore:
    """How many events each user and each item has at least."""

    min_user: int = 1
    min_item: int = 1


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What manifest.json holds: what has no default must be there."""

    schema_version: int = SCHEMA_VERSION
    sparcode_es: str
    """The release that wrote it."""
    name: str
    source: LogSource
    counts: Counts
    split: SplitOptions
    k_core: KCore
    schema: tuple[Feature, ...]
    files: Mapping[str, FileSum]


def read_manifest(path: Path) -> Manifest:
    """The manifest of the data folder `path`. Raises `DataError` where there is none, for one of another kind or version, or
    where a key is missing, unknown or ill-typed."""
    file = path / "manifest.json"
    foreign = f"{file} is not the manifest of a data folder"
    said = folder_of(path).manifest(_content_of(path), MANIFEST_KEYS, SCHEMA_VERSION, foreign)
    try:
        return from_mapping(Manifest, said)
    except ConfigError as error:
        raise DataError(f"{file} is damaged: {error}; {IMPORT}") from error


def _content_of(path: Path) -> bytes:
    file = path / "manifest.json"
    try:
        return file.read_bytes()
    except FileNotFoundError as error:
        raise DataError(
            f"{path} is not a data folder: it has no manifest.json. `sparcode-es data import` makes one."
        ) from error
    except NotADirectoryError as error:
        raise DataError(
            f"{path} is a file, and a data folder is expected; `sparcode-es data import {path} --out FOLDER` makes one of a log"
        ) from error
    except OSError as error:
        raise DataError(unreadable(file, error, IMPORT)) from error


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write manifest.json."""
    text = json.dumps(to_mapping(manifest), indent=1, ensure_ascii=False)
    (folder / "manifest.json").write_text(text + "\n", encoding="utf-8")


def folder_of(path: Path) -> ArrayFolder:
    """The arrays of the data folder `path`."""
    return ArrayFolder(path, DataError, IMPORT)
