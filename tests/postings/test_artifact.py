"""Damaged, foreign and missing artifacts."""

from __future__ import annotations

import dataclasses
import functools
import json
import operator
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparcode_es.errors import ArtifactError
from sparcode_es.files import atomic_folder
from sparcode_es.postings import artifact as module
from sparcode_es.postings.artifact import Artifact
from sparcode_es.postings.manifest import Changed, EventSource, Update, read_manifest
from sparcode_es.postings.transpose import count_rows_by_item
from sparcode_es.postings.write import write_manifest
from sparcode_es.tables import StringTable

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


def test_an_array_that_the_manifest_does_not_name(build: Any) -> None:
    """Nobody would check its SHA-256."""
    file = build().path / "manifest.json"
    manifest = json.loads(file.read_text())
    del manifest["files"]["scores.npy"]
    file.write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match=r"scores\.npy is not in the manifest"):
        Artifact.open(file.parent)


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
    ("key", "value"),
    [
        *(("schema_version", 2), ("counts", {}), ("counts", None), ("files", []), ("M", 2), ("M", "x"), ("bias", None)),
        *(
            ("sparsity", "x"),
            ("average_items_of_stored_codes", []),
            ("rounding", {}),
            ("rounding", 1),
            ("config", None),
        ),
    ],
)
def test_a_changed_manifest(build: Any, key: str, value: object) -> None:
    file = build().path / "manifest.json"
    manifest = json.loads(file.read_text())
    manifest[key] = value
    file.write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError):
        Artifact.open(file.parent)


@pytest.mark.parametrize("key", ["sparsity", "rounding", "config", "counts.items_without_postings", "created_at"])
def test_a_manifest_that_lacks_what_a_build_says_of_itself(build: Any, key: str) -> None:
    file = build().path / "manifest.json"
    manifest = json.loads(file.read_text())
    *tables, last = key.split(".")
    del functools.reduce(operator.getitem, tables, manifest)[last]
    file.write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match=rf"manifest\.json is damaged: {key} is missing; build it again"):
        Artifact.open(file.parent)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("counts", {"users": "5"}, "counts.users must be int, not '5'"),
        ("files", {"codes.npy": 3}, "files.codes.npy must be a table, not 3"),
        ("updates", [{"from": 7}], r"updates\[0\].from must be str, not 7"),
        ("updates", [{"changed": {"codes": 1.5}}], r"updates\[0\].changed.codes must be int, not 1.5"),
        ("config", {"cut": "chance"}, "config.cut must be one of bias, traffic, not 'chance'"),
        ("codebook", "feed", "unknown configuration key codebook; did you mean codebook_hash"),
    ],
)
def test_a_manifest_that_says_what_no_build_does(build: Any, key: str, value: object, said: str) -> None:
    file = build().path / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {key: value}))
    with pytest.raises(ArtifactError, match=f"manifest.json is damaged: {said}"):
        Artifact.open(file.parent)


def test_a_manifest_is_written_as_it_was_read(build: Any, tmp_path: Path) -> None:
    """Byte for byte; an update of a log without times says so."""
    built = build()
    update = Update(
        sources=(EventSource("new.txt", "beef"),),
        events=3,
        unknown_item_events=0,
        unknown_items=0,
        new_users=1,
        times=None,
        from_=built.generation_hash,
        new_codes=0,
        changed=Changed(codes=2, items=3, postings=4, users=1),
    )
    updated = dataclasses.replace(built.manifest, updates=(update,), updated_from=built.generation_hash)
    for manifest in (updated, built.manifest):
        write_manifest(tmp_path, manifest)
        assert read_manifest(tmp_path)[0] == manifest
        said = json.loads((tmp_path / "manifest.json").read_text())
        assert [(each["from"], each["times"]) for each in said.get("updates", [])] == [
            (each.from_, each.times) for each in manifest.updates
        ]
    assert (tmp_path / "manifest.json").read_bytes() == (built.path / "manifest.json").read_bytes()
    assert read_manifest(tmp_path)[1] == built.generation_hash


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """`meanwhile(change)`: whenever an artifact's arrays are open and its tables are not, `change` happens."""

    def arrange(change: Callable[[], None]) -> None:
        opened = StringTable.open

        def late(folder: Path, name: str, searchable: bool = True) -> StringTable:
            if name == "item_ids":
                change()
            return opened(folder, name, searchable)

        monkeypatch.setattr(module.StringTable, "open", late)

    return arrange


def replace(path: Path, other: Path) -> None:
    """Put a copy of another artifact in the place of one, as a writer does."""
    with atomic_folder(path) as folder:
        for file in other.iterdir():
            (folder / file.name).write_bytes(file.read_bytes())


@pytest.mark.parametrize("verify", [False, True])
@pytest.mark.parametrize("items", [37, 41])
def test_one_that_is_replaced_while_it_is_opened_is_opened_again(
    build: Any, make_scorer: Any, tmp_path: Path, meanwhile: Any, verify: bool, items: int
) -> None:
    old, new = build(), build(make_scorer(seed=3, num_items=items, model_hash="new"), tmp_path / "new")
    changes = [lambda: replace(old.path, new.path)]
    meanwhile(lambda: changes.pop()() if changes else None)
    opened = Artifact.open(old.path, verify)
    assert opened.manifest == new.manifest
    np.testing.assert_array_equal(opened.scores, new.scores)
    assert list(opened.item_ids) == list(new.item_ids)


def test_one_that_is_replaced_all_the_time_is_given_up(
    build: Any, make_scorer: Any, tmp_path: Path, meanwhile: Any
) -> None:
    one, two = build(out=tmp_path / "one"), build(make_scorer(model_hash="new"), tmp_path / "two")
    place = build().path
    turns = [two.path, one.path] * 10
    meanwhile(lambda: replace(place, turns.pop()))
    replace(place, two.path)
    with pytest.raises(ArtifactError, match="was replaced 10 times while it was opened; try again"):
        Artifact.open(place)


def test_an_open_one_stays_what_it_was(build: Any, make_scorer: Any, tmp_path: Path) -> None:
    old, new = build(), build(make_scorer(seed=3, model_hash="new"), tmp_path / "new")
    ids, scores = list(old.item_ids), np.array(old.scores)
    replace(old.path, new.path)
    assert list(old.item_ids) == ids
    np.testing.assert_array_equal(old.scores, scores)
    assert Artifact.open(old.path).model_hash == "new"


def test_rights_that_are_missing_are_no_damage(build: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = build().path

    def refuse(*_args: object, **_more: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(np, "load", refuse)
    with pytest.raises(ArtifactError, match="Permission denied; let this account read it") as found:
        Artifact.open(path)
    assert "build it again" not in str(found.value)


def test_popular_is_what_most_users_have_seen_not_what_one_saw_most(build: Any) -> None:
    artifact = build()
    histories = [[5] * 40 + [6] * 30, [], [7, 8], [8, 7, 7], [8, 5]]
    artifact.user_seen_offsets = np.cumsum([0, *map(len, histories)]).astype(np.uint64)
    artifact.user_seen_items = np.array([item for history in histories for item in history], dtype=np.uint32)
    ids = [artifact.item_ids[item] for item in (8, *sorted((5, 7), key=artifact.item_ranks.__getitem__), 6)]
    assert artifact.popular(10) == ids


@pytest.mark.parametrize("block", [1, 3, 1000])
def test_rows_of_an_item_are_counted_once_each_block_by_block(block: int) -> None:
    rng = np.random.default_rng(3)
    rows = [rng.integers(0, 9, size=rng.integers(0, 7)) for _ in range(30)]
    offsets = np.cumsum([0, *map(len, rows)]).astype(np.uint64)
    found = count_rows_by_item(offsets, np.concatenate(rows).astype(np.uint32), 9, block)
    assert found.tolist() == [sum(item in row for row in rows) for item in range(9)]
