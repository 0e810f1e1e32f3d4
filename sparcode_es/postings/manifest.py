"""What an artifact says of itself: manifest.json, checked when it is read, and written from the same dataclasses."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparcode_es.arrays import ArrayFolder, unreadable
from sparcode_es.config import PostingsConfig, from_mapping
from sparcode_es.errors import ArtifactError, ConfigError
from sparcode_es.files import FileSum

SCHEMA_VERSION = 1
MANIFEST_KEYS = {"schema_version", "model_hash", "codebook_hash", "shared_heads", "M", "counts", "bias", "files"}
"""What tells an artifact's manifest.json from another kind's. `Manifest` says what it has to hold."""
REBUILD = "build it again with `sparcode-es postings build`"


@dataclass(frozen=True, kw_only=True)
class Totals:
    """How many of what an artifact has, by the alphabet."""

    codes: int
    """Learned codes and those of items."""
    folded_events: int | None = None
    """None where no update has folded events in."""
    item_code_postings: int
    """Of `postings`, those of `item_codes`."""
    item_codes: int
    """The codes of items: item codes and repeat codes."""
    items: int
    items_without_postings: int
    observed_codes: int
    """Learned codes that somebody has."""
    possible_codes: int
    """N^M."""
    postings: int
    user_codes: int
    """Pairs of a user and a code, all users' together."""
    user_codes_dropped: int
    """Pairs that were left out, whose code the artifact does not have."""
    user_seen: int
    """Pairs of a user and a seen item."""
    users: int


@dataclass(frozen=True)
class Rounding:
    """What the scores lost on the grid."""

    max_relative_error: float


@dataclass(frozen=True)
class EventSource:
    """Where folded events came from: a log's name and SHA-256, or a split's (see `source_of`)."""

    name: str
    sha256: str


@dataclass(frozen=True)
class FoldedEvents:
    """The events of an update, and those that it left out."""

    sources: tuple[EventSource, ...]
    events: int
    unknown_item_events: int
    """Events on items that the model does not know."""
    unknown_items: int
    new_users: int
    times: tuple[int, ...] | None
    """The first and the last, seconds; None for a log without times."""


@dataclass(frozen=True, kw_only=True)
class Changed:
    """How much of an artifact an update changed, by the alphabet."""

    codes: int
    items: int
    postings: int
    users: int


@dataclass(frozen=True)
class Update(FoldedEvents):
    """What an update did."""

    from_: str
    """The generation that it changed; `from` in the file."""
    new_codes: int
    changed: Changed


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What manifest.json holds: what has no default must be there. §4.4's figures are over all N^M possible codes, and over
    the codes that were scored; codes of items count in neither."""

    schema_version: int = SCHEMA_VERSION
    created_at: str
    """ISO 8601."""
    sparcode_es: str
    """The release that wrote it."""
    model_hash: str
    codebook_hash: str
    shared_heads: bool
    M: int
    config: PostingsConfig
    """What was cut."""
    counts: Totals
    bias: float
    """b̃ of Eq. 15."""
    sparsity: float
    average_items: float
    """Postings a code."""
    sparsity_of_stored_codes: float
    average_items_of_stored_codes: float
    rounding: Rounding
    files: Mapping[str, FileSum]
    updates: tuple[Update, ...] = ()
    """Since the build, the first one first."""
    updated_from: str | None = None
    """The generation that the last update changed."""
    built_at: str | None = None
    """When the build was that was updated, ISO 8601."""


def read_manifest(path: Path) -> tuple[Manifest, str]:
    """An artifact's manifest and its `Artifact.generation_hash`, none of its files opened. Raises `ArtifactError` as
    `Artifact.open` does."""
    return parsed(path, content_of(path))


def content_of(path: Path) -> bytes:
    """The manifest.json of `path`. Raises `ArtifactError` where there is none that can be read."""
    file = path / "manifest.json"
    try:
        return file.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ArtifactError(
            f"there is no postings artifact at {path}; `sparcode-es postings build` makes one, --postings names another"
        ) from error
    except OSError as error:
        raise ArtifactError(unreadable(file, error, REBUILD)) from error


def parsed(path: Path, content: bytes) -> tuple[Manifest, str]:
    """What `content`, the manifest.json of `path`, says, and its `Artifact.generation_hash`. Raises `ArtifactError` for one of
    another kind or version, or where a key is missing, unknown or ill-typed."""
    foreign = f"{path} is not a postings artifact: its manifest.json is another kind's"
    said = folder_of(path).manifest(content, MANIFEST_KEYS, SCHEMA_VERSION, foreign)
    try:
        return from_mapping(Manifest, said), _generation_of(said)
    except ConfigError as error:
        raise ArtifactError(f"{path / 'manifest.json'} is damaged: {error}; {REBUILD}") from error


def _generation_of(said: dict[str, Any]) -> str:
    """Of what stands in the file, not of what this release makes of it: every release gives an artifact the same hash."""
    content = {key: value for key, value in said.items() if key not in ("created_at", "built_at")}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def folder_of(path: Path) -> ArrayFolder:
    """The files of the artifact at `path`."""
    return ArrayFolder(path, ArtifactError, REBUILD)


def source_of(split: str) -> str:
    """What a held-out split is called among the sources of the manifest's `updates`."""
    return f"the split {split}"
