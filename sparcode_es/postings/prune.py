"""Which postings stay: at most n a code, those that users need, at most n an item, and a floor for items."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
from scipy import sparse

from sparcode_es import csr
from sparcode_es.config import PostingsConfig
from sparcode_es.errors import ArtifactError
from sparcode_es.postings.artifact import Artifact
from sparcode_es.postings.groups import rank_in_group
from sparcode_es.postings.stream import NpyStream
from sparcode_es.postings.traffic import traffic
from sparcode_es.postings.transpose import BLOCK_POSTINGS, transpose


def best(scores: np.ndarray, n: int) -> np.ndarray:
    """The places of the n largest grid values, ties by place; ascending int64 [min(n, len)]."""
    if len(scores) <= n:
        return np.arange(len(scores))
    places: np.ndarray = np.sort(np.argsort(-scores.astype(np.int64), kind="stable")[:n])
    return places


def needs_second_pass(config: PostingsConfig) -> bool:
    """Whether what stays depends on all codes of an item."""
    by_item = config.max_codes_per_item is not None or config.min_codes_per_item > 0
    return by_item or config.cut == "traffic"


def updatable_config(artifact: Artifact) -> PostingsConfig:
    """What cut the artifact. Raises `ArtifactError` when some of its codes alone cannot be scored and cut again."""
    config = artifact.manifest.config
    if needs_second_pass(config):
        raise ArtifactError(
            f"{artifact.path} was cut by what depends on every code's scores (--cut traffic, --max-codes-per-item or "
            "--min-codes-per-item), so that some codes alone cannot be updated; train and "
            "build anew on the grown log, or build with --sparsity alone (a bias), with --max-postings-per-code, or without a cut"
        )
    return config


def prune(
    folder: Path,
    out: Path,
    offsets: np.ndarray,
    num_items: int,
    config: PostingsConfig,
    boosts: sparse.csr_matrix | None,
    learned: int,
) -> np.ndarray:
    """Copy candidates from `folder` to `out`, less those that are cut; returns the new offsets uint64 [C + 1].

    offsets: uint64 [C + 1]; boosts: of users on the C codes, float32 [U', C], with `cut = "traffic"`; learned: how many of the
    codes, the first ones, are not of items. First each code keeps its best `max_postings_per_code`; then `traffic` cuts the
    learned codes to `sparsity`; then each item the best
    `max_codes_per_item` of what is left; at last an item gets back those of its best `min_codes_per_item` candidates that
    were cut. A pair without a positive score is no candidate: no floor can keep it, since an index holds only positive
    scores. Scores are compared as they are stored; ties go to the smaller number.
    """
    items = np.load(folder / "item_numbers.npy", mmap_mode="r", allow_pickle=False)
    scores = np.load(folder / "scores.npy", mmap_mode="r", allow_pickle=False)
    # One byte a candidate, on disk like the candidates themselves.
    keep = np.lib.format.open_memmap(folder / "keep.npy", mode="w+", dtype=np.bool_, shape=(len(items),))
    _keep_by_code(keep, offsets, scores, config.max_postings_per_code)
    if boosts is not None and config.sparsity is not None:
        first = int(offsets[learned])
        places, much = traffic(boosts, offsets, items, scores, num_items, config.traffic_items)
        asked = places < first
        most = round((1 - config.sparsity) * learned * num_items)
        _keep_most(keep[:first], scores[:first], places[asked], much[asked], most)
    _keep_by_item(keep, offsets, items, scores, num_items, config)
    with NpyStream(out / "item_numbers.npy", np.uint32) as new_items, NpyStream(out / "scores.npy", np.uint16) as new:
        for start in range(0, len(items), BLOCK_POSTINGS):
            part = slice(start, start + BLOCK_POSTINGS)
            new_items.append(items[part][keep[part]])
            new.append(scores[part][keep[part]])
    counts = [int(np.count_nonzero(keep[int(a) : int(b)])) for a, b in itertools.pairwise(offsets)]
    return csr.offsets_of(counts)


def _keep_by_code(keep: np.ndarray, offsets: np.ndarray, scores: np.ndarray, most: int | None) -> None:
    for start, stop in zip(offsets[:-1].astype(np.int64), offsets[1:].astype(np.int64), strict=True):
        keep[start + best(scores[start:stop], stop - start if most is None else most)] = True


def _keep_most(keep: np.ndarray, scores: np.ndarray, places: np.ndarray, much: np.ndarray, most: int) -> None:
    """Of the kept candidates leave the `most` with the largest traffic, which those at `places` have; among equals, those with
    the largest scores, the first of them."""
    if int(np.count_nonzero(keep)) <= most:
        return
    there = keep[places]
    places, much = places[there], much[there]
    first = places[np.lexsort((-scores[places].astype(np.int64), -much))][:most]
    keep[places] = False
    _keep_highest(keep, scores, most - len(first))
    keep[first] = True


def _keep_highest(keep: np.ndarray, scores: np.ndarray, most: int) -> None:
    """Of the kept candidates leave the `most` with the largest grid values, the first among equals. A block at a time."""
    blocks = [slice(start, start + BLOCK_POSTINGS) for start in range(0, len(keep), BLOCK_POSTINGS)]
    counts = np.zeros(1 << 16, dtype=np.int64)
    for part in blocks:
        counts += np.bincount(scores[part][keep[part]], minlength=1 << 16)
    above = np.cumsum(counts[::-1])[::-1] - counts  # how many have a larger value
    lowest = int(np.flatnonzero(above < most).min(initial=1 << 16))
    left = most - int(above[lowest]) if lowest < 1 << 16 else 0
    for part in blocks:
        equal = np.flatnonzero(keep[part] & (scores[part] == lowest))
        keep[part] &= scores[part] >= lowest
        keep[part][equal[left:]] = False
        left -= min(left, len(equal))


def _keep_by_item(
    keep: np.ndarray,
    offsets: np.ndarray,
    items: np.ndarray,
    scores: np.ndarray,
    num_items: int,
    config: PostingsConfig,
) -> None:
    for block in transpose(offsets, items, scores, num_items):
        owners = csr.owners(block.offsets)
        kept = keep[block.places]
        if config.max_codes_per_item is not None:
            kept &= _rank_in_item(owners, block.scores, kept) < config.max_codes_per_item
        everything = np.ones(len(kept), dtype=bool)
        keep[block.places] = kept | (_rank_in_item(owners, block.scores, everything) < config.min_codes_per_item)


def _rank_in_item(owners: np.ndarray, scores: np.ndarray, eligible: np.ndarray) -> np.ndarray:
    """The place of each posting among its item's eligible ones, 0 for the best; the others come after. int64 [p]."""
    order = np.lexsort((-scores.astype(np.int64), ~eligible, owners))
    ranks = np.empty(len(owners), dtype=np.int64)
    ranks[order] = rank_in_group(owners[order])
    return ranks
