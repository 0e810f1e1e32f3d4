"""Damaged, foreign and missing artifacts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sparcode_es.errors import ArtifactError
from sparcode_es.postings.artifact import Artifact

FILES = ["scores.npy", "item_numbers.npy", "code_offsets.npy", "codes.npy", "item_ids.bytes.npy", "user_boosts.npy"]


def test_a_good_one_passes(build: Any) -> None:
    Artifact.open(build().path, verify=True)


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_byte(build: Any, name: str) -> None:
    file = build().path / name
    content = bytearray(file.read_bytes())
    content[-1] ^= 0x10
    file.write_bytes(content)
    with pytest.raises(ArtifactError, match=name.split(".")[0]):
        Artifact.open(file.parent, verify=True)


@pytest.mark.parametrize("name", FILES)
def test_a_truncated_file(build: Any, name: str) -> None:
    file = build().path / name
    file.write_bytes(file.read_bytes()[:-3])
    with pytest.raises(ArtifactError, match="damaged"):
        Artifact.open(file.parent)


@pytest.mark.parametrize("name", [*FILES, "user_ids.order.npy"])
def test_a_missing_file(build: Any, name: str) -> None:
    path = build().path
    (path / name).unlink()
    with pytest.raises(ArtifactError, match=name):
        Artifact.open(path)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="postings build"):
        Artifact.open(tmp_path / "nothing")


def test_a_file_instead_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ArtifactError):
        Artifact.open(tmp_path / "file")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"name": "ml-100k", "counts": {}}', "{", "\udcff"])
def test_a_foreign_manifest(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(ArtifactError):
        Artifact.open(tmp_path)


@pytest.mark.parametrize(
    ("key", "value"), [("schema_version", 2), ("counts", {}), ("counts", None), ("files", []), ("M", 2), ("M", "x")]
)
def test_a_changed_manifest(build: Any, key: str, value: object) -> None:
    file = build().path / "manifest.json"
    manifest = json.loads(file.read_text())
    manifest[key] = value
    file.write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError):
        Artifact.open(file.parent)
