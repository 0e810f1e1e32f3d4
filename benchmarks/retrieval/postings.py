"""The recipe's postings as an artifact that every engine can load."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from retrieval.recipe import LATEST, World, best_of_code, followers
from sparcode_es import csr
from sparcode_es.codes import ITEM_HEAD, UserCodes, item_code_rows
from sparcode_es.config import PostingsConfig
from sparcode_es.files import sums_of
from sparcode_es.postings.artifact import Artifact
from sparcode_es.postings.build import manifest_of
from sparcode_es.postings.grid import to_grid
from sparcode_es.postings.manifest import Manifest, Totals
from sparcode_es.postings.stream import NpyStream
from sparcode_es.postings.transpose import count_by_item
from sparcode_es.postings.write import write_items, write_manifest, write_users
from sparcode_es.tables import StringTable


def item_id(number: int) -> str:
    """Ten characters, as a shop's."""
    return f"B{number:09d}"


def number_of(item: str) -> int:
    """The inverse of `item_id`."""
    return int(item[1:])


class _Seen:
    def __init__(self, rows: np.ndarray) -> None:
        self.offsets = np.arange(0, rows.size + 1, rows.shape[1]).astype(np.uint64)
        self.items = rows.ravel().astype(np.uint32)


def write_artifact(folder: Path, world: World) -> Artifact:
    """Write codes, postings, items and users of `world`."""
    recipe = world.recipe
    folder.mkdir(parents=True)
    table = _codes(world)
    np.save(folder / "codes.npy", table)
    counts = np.zeros(len(table), dtype=np.int64)
    items_path, scores_path = folder / "item_numbers.npy", folder / "scores.npy"
    with NpyStream(items_path, np.uint32) as numbers, NpyStream(scores_path, np.uint16) as grids:
        for code, (items, scores) in enumerate(_rows(world)):
            numbers.append(items.astype(np.uint32))
            grids.append(to_grid(scores))
            counts[code] = len(items)
    np.save(folder / "code_offsets.npy", csr.offsets_of(counts))
    write_items(folder, StringTable.build(map(item_id, range(recipe.items))), _documents(world))
    user_ids = StringTable.build(f"u{user}" for user in range(recipe.users))
    users = write_users(folder, user_ids, user_codes(world), _Seen(world.user_seen), table)
    sizes = {"codes": len(table), "items": recipe.items, "postings": int(counts.sum()), "item_codes": recipe.items}
    sizes["item_code_postings"] = int(counts[recipe.codes :].sum())
    write_manifest(folder, synthetic_manifest(folder, users | sizes))
    return Artifact.open(folder)


def synthetic_manifest(folder: Path, counts: dict[str, int]) -> Manifest:
    """What a build says of itself, for the postings in a folder, which no model gave."""
    learned = counts["codes"] - counts["item_codes"]
    items, user_codes = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("item_numbers", "user_codes"))
    totals = Totals(
        **counts,
        items_without_postings=int((count_by_item(items, counts["items"]) == 0).sum()),
        observed_codes=len(np.unique(user_codes[user_codes < learned])),
        possible_codes=learned,
    )
    scorer = SimpleNamespace(model_hash="synthetic", codebook_hash="synthetic", shared_heads=True)
    return manifest_of(scorer, 1, 0.0, totals, 2**-9, PostingsConfig(), sums_of(folder))


def _codes(world: World) -> np.ndarray:
    """All codes, those of the items last, uint32 [C + I, 2]."""
    plain = np.stack([np.zeros(world.recipe.codes), np.arange(world.recipe.codes)], axis=1).astype(np.uint32)
    return np.concatenate([plain, item_code_rows(np.arange(world.recipe.items), 1)])


def _rows(world: World) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Items and scores of every code, in the order of `_codes`."""
    for code in range(world.recipe.codes):
        yield best_of_code(world, code)
    rng = np.random.default_rng(world.recipe.seed + 1)
    width = min(world.recipe.item_postings, min(map(len, world.members)) - 1)
    items = np.empty((world.recipe.items, width), dtype=np.uint32)
    scores = np.empty((world.recipe.items, width), dtype=np.float32)
    for cluster in range(len(world.members)):
        members, numbers, values = followers(world, rng, cluster)
        items[members], scores[members] = numbers[:, :width], values[:, :width]
    yield from zip(items, scores, strict=True)


def _documents(world: World) -> Iterator[dict[str, Any]]:
    rng = np.random.default_rng(world.recipe.seed + 2)
    for item, part in enumerate(rng.integers(100, size=world.recipe.items).tolist()):
        yield {"title": f"Item {item}", "attributes": {"half": str(part % 2), "hundredth": str(part)}}


def user_codes(world: World) -> UserCodes:
    """Eight codes and ten latest items of each user."""
    latest = world.user_seen[:, : -LATEST - 1 : -1]
    plain = np.stack([np.zeros_like(world.user_codes), world.user_codes], axis=-1).astype(np.uint32)
    rows = np.concatenate([plain, item_code_rows(latest, 1)], axis=1)
    boosts = np.broadcast_to(0.8 ** np.arange(latest.shape[1]), latest.shape)
    weights = np.concatenate([world.user_weights, boosts], axis=1)
    offsets = np.arange(0, weights.size + 1, weights.shape[1]).astype(np.uint64)
    return UserCodes(offsets, rows.reshape(-1, 2), weights.ravel().astype(np.float32))


def is_item_code(artifact: Artifact, row: int) -> bool:
    """Whether a row of the artifact is an item's own code."""
    return int(artifact.codes[row, 0]) == ITEM_HEAD
