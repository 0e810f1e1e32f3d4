"""Artifact and later events → updated artifact: touched codes are scored again, and codes that nobody had before for the first
time; everything else is copied."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sparcode_es import csr
from sparcode_es.codes import UserCodes, of_items, rows_of
from sparcode_es.config import PostingsConfig
from sparcode_es.errors import MismatchError
from sparcode_es.files import atomic_folder, check_replaceable, sums_of
from sparcode_es.postings.artifact import NO_TIME, Artifact
from sparcode_es.postings.build import manifest_of
from sparcode_es.postings.folded import Counts, save_counts
from sparcode_es.postings.grown import GrownCodes
from sparcode_es.postings.manifest import MANIFEST_KEYS, Changed, FoldedEvents, Totals, Update, read_manifest
from sparcode_es.postings.prune import updatable_config
from sparcode_es.postings.rows import CodePostings, remembered_postings, scored_postings
from sparcode_es.postings.score import CodeScorer
from sparcode_es.postings.stream import NpyStream
from sparcode_es.postings.transpose import count_by_item
from sparcode_es.postings.write import SeenItems, write_manifest
from sparcode_es.tables import StringTable

NO_POSTINGS = np.zeros(0, dtype=np.uint32), np.zeros(0, dtype=np.uint16)


@dataclass(frozen=True)
class Changes:
    """What later events change in an artifact of U users."""

    codes: np.ndarray
    """The codes to score again, uint32 [t, 1 + M]; those that neither the artifact nor a user has are passed
    over."""
    counts: Counts
    """All counts beyond the model's own, those of earlier updates included."""
    users: np.ndarray
    """The users with new events, int64 [n]: rows of the artifact, then U, U + 1, … for new ones."""
    new_users: list[str]
    """The identifiers of the new ones."""
    user_codes: UserCodes
    """Of `users`, in their order. Codes that the artifact does not keep are new ones."""
    seen: SeenItems
    """Of `users`, in their order."""
    user_times: np.ndarray
    """The last new event of each of `users`, in their order, int64 [n], seconds; NO_TIME where it has no time."""
    events: FoldedEvents
    """Where the events came from and how many they are, for the manifest."""


@dataclass
class _Written:
    """What the pass over the codes found."""

    counts: np.ndarray
    """int64 [C], postings a code"""
    changed_items: np.ndarray
    """bool [I]"""
    changed: int = 0
    """Postings that came, went, or have another grid value."""
    error: float = 0.0


def update_postings(artifact: Artifact, scorer: CodeScorer, out: Path, changes: Changes) -> Artifact:
    """Write the artifact `out` (the old one's path is allowed): `artifact` with the changes.

    scorer: the artifact's model, with `changes.counts` folded in. Killed anywhere, `out` stays as it was. Raises
    `MismatchError` for another model, or when `out` is the old one's path and another run has written there since it was
    opened; `ArtifactError` for postings that were cut per item; `StorageError` when `out` cannot be written or something
    else is in its place.
    """
    check_replaceable(out, "postings artifact", MANIFEST_KEYS)
    config = updatable_config(artifact)
    require_same_model(artifact, scorer)
    old, before = artifact.manifest, artifact.generation_hash
    grown = GrownCodes.of(np.asarray(artifact.codes), changes.user_codes.codes)
    touched = rows_of(grown.codes, changes.codes)
    rows = np.union1d(touched[touched >= 0], grown.new)
    with atomic_folder(out) as folder:
        _require_unchanged(artifact, out)
        written = _write_postings(artifact, grown, scorer, rows, folder, config)
        np.save(folder / "codes.npy", grown.codes)
        artifact.item_ids.save(folder, "item_ids")
        artifact.item_docs.save(folder, "item_docs")
        counts = _postings_counts(artifact, written, folder) | _write_users(artifact, grown, changes, folder)
        _write_marks(artifact, written, changes, folder)
        save_counts(folder, changes.counts)
        counts["folded_events"] = (old.counts.folded_events or 0) + changes.events.events
        error = max(written.error, old.rounding.max_relative_error)
        built = manifest_of(scorer, old.M, old.bias, Totals(**counts), error, config, sums_of(folder))
        changed = Changed(
            codes=len(rows),
            items=int(written.changed_items.sum()),
            postings=written.changed,
            users=len(changes.users),
        )
        update = Update(**vars(changes.events), from_=before, new_codes=len(grown.new), changed=changed)
        built_at = old.built_at or old.created_at
        write_manifest(folder, replace(built, updates=(*old.updates, update), updated_from=before, built_at=built_at))
        _require_unchanged(artifact, out)
    return Artifact.open(out)


def require_same_model(artifact: Artifact, scorer: CodeScorer) -> None:
    """Raise `MismatchError` unless the artifact holds postings of this model."""
    if (artifact.model_hash, artifact.codebook_hash) != (scorer.model_hash, scorer.codebook_hash):
        raise MismatchError(
            f"{artifact.path} holds postings of model {artifact.model_hash}, the checkpoint is model {scorer.model_hash}; "
            "give the checkpoint that they were built from"
        )


def _require_unchanged(artifact: Artifact, out: Path) -> None:
    """Raise `MismatchError` when `out` is the artifact's own place and another run has put another one there."""
    if out.resolve() != artifact.path.resolve():
        return
    _, there = read_manifest(out)
    if there != artifact.generation_hash:
        raise MismatchError(
            f"another run put the artifact {there} in the place of {artifact.generation_hash} at {out} meanwhile; run the "
            "update again"
        )


def _write_postings(
    artifact: Artifact, grown: GrownCodes, scorer: CodeScorer, rows: np.ndarray, folder: Path, config: PostingsConfig
) -> _Written:
    """Write code_offsets, item_numbers and scores: those of `rows` of the grown codes (int64 [t], ascending, all new ones among
    them) anew, the others copied."""
    written = _Written(np.zeros(len(grown.codes), dtype=np.int64), np.zeros(artifact.num_items, dtype=bool))
    written.counts[grown.kept] = np.diff(artifact.code_offsets.astype(np.int64))
    old_before = np.searchsorted(grown.kept, rows)
    items_path, scores_path = folder / "item_numbers.npy", folder / "scores.npy"
    with NpyStream(items_path, np.uint32) as items, NpyStream(scores_path, np.uint16) as grids:
        copied = 0
        scored = _scored(artifact, grown.codes[rows], scorer, folder, config)
        for row, old, new in zip(rows.tolist(), old_before.tolist(), scored, strict=True):
            _copy(artifact, copied, old, items, grids)
            items.append(new.items)
            grids.append(new.grid)
            there = grown.old_rows[row] >= 0
            _note_changes(written, row, artifact.postings(old) if there else NO_POSTINGS, new)
            copied = old + int(there)
        _copy(artifact, copied, artifact.num_codes, items, grids)
    np.save(folder / "code_offsets.npy", csr.offsets_of(written.counts))
    return written


def _scored(
    artifact: Artifact, codes: np.ndarray, scorer: CodeScorer, folder: Path, config: PostingsConfig
) -> Iterator[CodePostings]:
    """The postings of some codes, as a full build with the artifact's bias would make them (those of items come last)."""
    scored = np.ascontiguousarray(codes[~of_items(codes)])
    bias, most = np.float32(artifact.manifest.bias), config.max_postings_per_code
    found = scored_postings(scorer, scored, bias, config, most, folder)
    remembered = scorer.item_codes
    if remembered is None:
        return found
    places = remembered.rows(codes[len(scored) :]).tolist()
    return itertools.chain(found, remembered_postings(remembered, places, most))


def _copy(artifact: Artifact, first: int, stop: int, items: NpyStream, grids: NpyStream) -> None:
    """Append the postings of code rows first … stop - 1 as they are."""
    part = slice(int(artifact.code_offsets[first]), int(artifact.code_offsets[stop]))
    items.append(artifact.item_numbers[part])
    grids.append(artifact.scores[part])


def _note_changes(written: _Written, row: int, old: tuple[np.ndarray, np.ndarray], new: CodePostings) -> None:
    """Note what differs between a code's old and new postings, each item numbers, ascending, and grid values."""
    items, grid = old
    _, in_old, in_new = np.intersect1d(items, new.items, assume_unique=True, return_indices=True)
    same = grid[in_old] == new.grid[in_new]
    changed = np.union1d(np.delete(items, in_old[same]), np.delete(new.items, in_new[same]))
    written.changed_items[changed] = True
    written.changed += len(changed)
    written.counts[row] = len(new.items)
    written.error = max(written.error, new.error)


def _postings_counts(artifact: Artifact, written: _Written, folder: Path) -> dict[str, int]:
    items = np.load(folder / "item_numbers.npy", mmap_mode="r", allow_pickle=False)
    old = artifact.manifest.counts
    codes = len(written.counts)
    scored = codes - old.item_codes
    return {
        "items": old.items,
        "item_codes": old.item_codes,
        "possible_codes": old.possible_codes,
        "codes": codes,
        "postings": len(items),
        "item_code_postings": int(written.counts[scored:].sum()),
        "items_without_postings": int((count_by_item(items, artifact.num_items) == 0).sum()),
    }


def _write_users(artifact: Artifact, grown: GrownCodes, changes: Changes, folder: Path) -> dict[str, int]:
    """Write the users' identifiers, codes and seen items: those of `changes.users` anew, the others copied."""
    users = artifact.num_users + len(changes.new_users)
    StringTable.build([*artifact.user_ids, *changes.new_users]).save(folder, "user_ids")
    rows = rows_of(grown.codes, changes.user_codes.codes)
    offsets, (codes, boosts) = replace_rows(
        artifact.user_code_offsets,
        [grown.kept[artifact.user_codes].astype(np.uint32), artifact.user_boosts],
        changes.users,
        changes.user_codes.offsets,
        [rows.astype(np.uint32), changes.user_codes.boosts.astype(np.float32)],
        users,
    )
    seen_offsets, (seen,) = replace_rows(
        artifact.user_seen_offsets,
        [artifact.user_seen_items],
        changes.users,
        changes.seen.offsets,
        [np.asarray(changes.seen.items, dtype=np.uint32)],
        users,
    )
    arrays = {"user_code_offsets": offsets, "user_codes": codes, "user_boosts": boosts}
    for name, array in (arrays | {"user_seen_offsets": seen_offsets, "user_seen": seen}).items():
        np.save(folder / f"{name}.npy", array)
    old = artifact.manifest.counts
    scored = len(grown.codes) - old.item_codes
    return {
        "users": users,
        "user_codes": len(codes),
        "user_codes_dropped": old.user_codes_dropped,
        "user_seen": len(seen),
        "observed_codes": len(np.unique(codes[codes < scored])),
    }


def replace_rows(
    offsets: np.ndarray,
    values: list[np.ndarray],
    rows: np.ndarray,
    new_offsets: np.ndarray,
    new_values: list[np.ndarray],
    num_rows: int,
) -> tuple[np.ndarray, list[np.ndarray]]:
    """A table in CSR form with some rows replaced, and with rows past its end added: offsets uint64 [num_rows + 1], values.

    Row `rows[i]` becomes row i of the new table. `values` and `new_values` are columns side by side.
    """
    owner = csr.owners(offsets)
    kept = ~np.isin(owner, rows)
    owners = np.concatenate([owner[kept], rows[csr.owners(new_offsets)]])
    order = np.argsort(owners, kind="stable")
    merged = [np.concatenate([old[kept], new])[order] for old, new in zip(values, new_values, strict=True)]
    return csr.offsets_of(np.bincount(owners, minlength=num_rows)), merged


def _write_marks(artifact: Artifact, written: _Written, changes: Changes, folder: Path) -> None:
    """Write which update changed an item's postings or a user last, 1 for the first; 0: none since the build. And when each
    user's last event was."""
    update = len(artifact.manifest.updates) + 1
    item_updates, user_updates = artifact.last_updates()
    items = item_updates.copy()
    items[written.changed_items] = update
    users = _longer(user_updates, len(changes.new_users), 0)
    users[changes.users] = update
    times = _longer(artifact.user_times, len(changes.new_users), NO_TIME)
    times[changes.users] = np.maximum(times[changes.users], changes.user_times)
    for name, array in {"item_updates": items, "user_updates": users, "user_times": times}.items():
        np.save(folder / f"{name}.npy", array)


def _longer(values: np.ndarray, more: int, fill: int) -> np.ndarray:
    """A copy [n + more] of `values` [n], the new ones `fill`."""
    return np.concatenate([values, np.full(more, fill, dtype=values.dtype)])
