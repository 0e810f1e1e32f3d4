"""Every (code, item) score → the postings artifact (Eq. 15), in blocks, streamed to disk."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from sparcode_es import __version__, csr
from sparcode_es.codes import UserCodes, of_items, unique_codes
from sparcode_es.config import PostingsConfig
from sparcode_es.errors import ArtifactError, StorageError
from sparcode_es.files import FileSum, atomic_folder, check_replaceable, sums_of
from sparcode_es.postings.artifact import Artifact
from sparcode_es.postings.manifest import MANIFEST_KEYS, Manifest, Rounding, Totals, read_manifest
from sparcode_es.postings.prune import needs_second_pass, prune
from sparcode_es.postings.rows import remembered_postings, scored_postings
from sparcode_es.postings.score import CodeScorer, bias_for_sparsity
from sparcode_es.postings.stream import NpyStream
from sparcode_es.postings.traffic import boosts_of
from sparcode_es.postings.transpose import count_by_item
from sparcode_es.postings.write import SeenItems, write_items, write_manifest, write_users
from sparcode_es.tables import StringTable


def require_nothing_folded(out: Path, scorer: CodeScorer) -> None:
    """Raise `StorageError` when `out` holds this model's postings with later events folded in: a build would lose them."""
    try:
        manifest, _ = read_manifest(out)
    except ArtifactError:
        return
    folded = len(manifest.updates)
    if folded and manifest.model_hash == scorer.model_hash:
        raise StorageError(
            f"{out} holds this model's postings with later events folded in ({folded} times `postings update`), which a build "
            "would lose; load it as it is, without --checkpoint, or build into another folder, or remove it first"
        )


def build_postings(
    scorer: CodeScorer,
    out: Path,
    *,
    item_ids: StringTable,
    item_docs: Iterable[Mapping[str, Any]],
    user_ids: StringTable,
    user_codes: UserCodes,
    user_seen: SeenItems,
    asked_codes: np.ndarray | None = None,
    traffic: UserCodes | None = None,
    config: PostingsConfig | None = None,
) -> Artifact:
    """Score every code for every item, keep what `config` says, and write the artifact `out`.

    Row u of `user_codes` and `user_seen` belongs to `user_ids[u]`; `asked_codes`, uint32 [n, 1 + M], are codes that count as
    observed too (of the histories that an evaluation will ask with, say); `traffic` are the codes of the histories whose best
    items `cut = "traffic"` keeps, None for the users' own. Killed anywhere, `out` stays as it was. Raises
    `ArtifactError` for scores that are not finite or parts that do not fit, `StorageError` when `out` cannot be written.
    """
    config = config or PostingsConfig()
    check_replaceable(out, "postings artifact", MANIFEST_KEYS)
    _check_fit(scorer, item_ids, user_ids, user_codes, user_seen)
    seen_codes = user_codes.codes if asked_codes is None else np.concatenate([user_codes.codes, asked_codes])
    observed, _ = unique_codes(seen_codes[~of_items(seen_codes)])
    codes = _choose_codes(scorer, observed, config)
    if config.sparsity is not None and config.cut == "bias":
        bias = bias_for_sparsity(scorer, codes, config, config.sparsity)
    else:
        bias = scorer.bias if config.bias is None else config.bias
    with atomic_folder(out) as folder:
        table = _with_those_of_items(scorer, codes)
        users = None
        if config.cut == "traffic":
            users = boosts_of(user_codes if traffic is None else traffic, table, config.traffic_users)
        counts, rounding = _write_postings(scorer, codes, np.float32(bias), folder, config, users)
        np.save(folder / "codes.npy", table)
        write_items(folder, item_ids, item_docs)
        counts |= write_users(folder, user_ids, user_codes, user_seen, table)
        counts |= {"observed_codes": len(observed), "possible_codes": scorer.num_possible_codes}
        counts |= {"codes": len(table), "item_codes": len(table) - len(codes)}
        totals, exact_bias = Totals(**counts), float(np.float32(bias))
        manifest = manifest_of(scorer, codes.shape[1] - 1, exact_bias, totals, rounding, config, sums_of(folder))
        write_manifest(folder, manifest)
    return Artifact.open(out)


def _check_fit(
    scorer: CodeScorer, item_ids: StringTable, user_ids: StringTable, user_codes: UserCodes, user_seen: SeenItems
) -> None:
    if len(item_ids) != scorer.num_items:
        raise ArtifactError(f"the model knows {scorer.num_items} items, the data has {len(item_ids)}; use its own data")
    if not len(user_ids) == len(user_codes) == len(user_seen.offsets) - 1:
        rows = f"{len(user_ids)} ids, {len(user_codes)} rows of codes, {len(user_seen.offsets) - 1} histories"
        raise ArtifactError(f"the users do not fit together: {rows}")


def _choose_codes(scorer: CodeScorer, observed: np.ndarray, config: PostingsConfig) -> np.ndarray:
    """The codes to score, uint32 [C, 1 + M], in lexicographic order."""
    only_observed = config.observed_codes_only
    if only_observed is None:
        only_observed = observed.shape[1] > 2
    codes = observed if only_observed else unique_codes(np.asarray(scorer.all_codes(), dtype=np.uint32))[0]
    return np.ascontiguousarray(codes, dtype=np.uint32)


def _write_postings(
    scorer: CodeScorer,
    codes: np.ndarray,
    bias: np.float32,
    folder: Path,
    config: PostingsConfig,
    users: sparse.csr_matrix | None,
) -> tuple[dict[str, int], float]:
    """Write code_offsets, item_numbers and scores; returns counts and the largest relative rounding error."""
    two_passes = needs_second_pass(config)
    target = folder / "candidates" if two_passes else folder
    target.mkdir(exist_ok=True)
    most = None if two_passes else config.max_postings_per_code
    by_code, rounding = _write_candidates(scorer, codes, bias, target, config, most)
    offsets = csr.offsets_of(by_code)
    if two_passes:
        offsets = prune(target, folder, offsets, scorer.num_items, config, users, len(codes))
        shutil.rmtree(target)
    np.save(folder / "code_offsets.npy", offsets)
    items = np.load(folder / "item_numbers.npy", mmap_mode="r", allow_pickle=False)
    without = int((count_by_item(items, scorer.num_items) == 0).sum())
    total = int(offsets[-1])
    counts = {
        "items": scorer.num_items,
        "postings": total,
        "item_code_postings": total - int(offsets[len(codes)]),
        "items_without_postings": without,
    }
    return counts, rounding


def _write_candidates(
    scorer: CodeScorer, codes: np.ndarray, bias: np.float32, folder: Path, config: PostingsConfig, most: int | None
) -> tuple[np.ndarray, float]:
    """Stream the positive scores of each code, the best `most` of them; then those of the codes of items.

    Returns the number of postings of each, int64 [C], and the largest relative rounding error.
    """
    remembered = scorer.item_codes
    found = scored_postings(scorer, codes, bias, config, most, folder)
    if remembered is not None:
        found = itertools.chain(found, remembered_postings(remembered, range(len(remembered)), most))
    counts, error = [], 0.0
    items_path, scores_path = folder / "item_numbers.npy", folder / "scores.npy"
    with NpyStream(items_path, np.uint32) as items, NpyStream(scores_path, np.uint16) as grids:
        for postings in found:
            items.append(postings.items)
            grids.append(postings.grid)
            counts.append(len(postings.items))
            error = max(error, postings.error)
    return np.array(counts, dtype=np.int64), error


def _with_those_of_items(scorer: CodeScorer, codes: np.ndarray) -> np.ndarray:
    """All codes of the postings: these, uint32 [C, 1 + M], and the model's codes of items behind them."""
    remembered = scorer.item_codes
    return codes if remembered is None else np.concatenate([codes, remembered.table(codes.shape[1] - 1)])


def manifest_of(
    scorer: CodeScorer,
    codebooks: int,
    bias: float,
    counts: Totals,
    rounding: float,
    config: PostingsConfig,
    files: Mapping[str, FileSum],
) -> Manifest:
    """What a build says of itself now. codebooks: M; bias: b̃ of Eq. 15; rounding: the largest relative error."""
    postings = counts.postings - counts.item_code_postings
    possible, stored, items = counts.possible_codes, counts.codes - counts.item_codes, counts.items
    return Manifest(
        created_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        sparcode_es=__version__,
        model_hash=scorer.model_hash,
        codebook_hash=scorer.codebook_hash,
        shared_heads=scorer.shared_heads,
        M=codebooks,
        config=config,
        counts=counts,
        bias=bias,
        sparsity=1 - postings / max(possible * items, 1),
        average_items=postings / max(possible, 1),
        sparsity_of_stored_codes=1 - postings / max(stored * items, 1),
        average_items_of_stored_codes=postings / max(stored, 1),
        rounding=Rounding(rounding),
        files=files,
    )
