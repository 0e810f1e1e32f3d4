"""The counts that were folded into an artifact after its model was trained: kept beside the postings, not in the checkpoint."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy import sparse

from sparcode_es.codes import item_code_rows
from sparcode_es.errors import ArtifactError
from sparcode_es.models.memory import Memory, counts_table
from sparcode_es.models.sparcode import SparCode
from sparcode_es.postings.artifact import FOLDED_PARTS, Artifact
from sparcode_es.postings.manifest import REBUILD

Counts = dict[str, sparse.csr_matrix]
"""`codes`: n(k, c) of the quantizer's codes, [N, I]; `items`: of the item codes, [I, I]. Only of memories with a weight."""


def memories(model: SparCode) -> dict[str, Memory]:
    """The memories that have a weight, by their name in `Counts`."""
    both = {"codes": model.memory, "items": model.item_memory}
    return {name: memory for name, memory in both.items() if memory is not None and memory.active}


def save_counts(folder: Path, counts: Counts) -> None:
    """Write the counts into an artifact's folder, in CSR form: `folded_codes.offsets.npy` and so on."""
    for name, table in counts.items():
        for (part, dtype), array in zip(FOLDED_PARTS.items(), (table.indptr, table.indices, table.data), strict=True):
            np.save(folder / f"folded_{name}.{part}.npy", array.astype(dtype))


def read_counts(artifact: Artifact, model: SparCode) -> Counts:
    """The counts that an artifact has beyond the model's own; empty tables for one that was never updated."""
    found = {}
    for name, memory in memories(model).items():
        if name not in artifact.folded:
            found[name] = sparse.csr_matrix(memory.shape, dtype=np.float32)
            continue
        try:
            offsets, items, data = (np.array(artifact.folded[name][part]) for part in FOLDED_PARTS)
            found[name] = counts_table(offsets, items, data, memory.shape)
        except (KeyError, ValueError) as error:
            raise ArtifactError(f"the folded counts in {artifact.path} are damaged: {error}; {REBUILD}") from error
    return found


def fold_counts(model: SparCode, counts: Counts) -> None:
    """Make the model's lifts those of its training and of these counts. Its hash stays: it gives the same codes."""
    for name, memory in memories(model).items():
        memory.fold(counts[name])


def as_updated(model: SparCode, artifact: Artifact) -> SparCode:
    """The model with the counts of its artifact folded in; any other model as it is."""
    if (artifact.model_hash, artifact.codebook_hash) == (model.model_hash, model.codebook_hash):
        fold_counts(model, read_counts(artifact, model))
    return model


def touched_codes(model: SparCode, counts: Counts) -> np.ndarray:
    """The codes whose row of `counts` is not empty, uint32 [t, 1 + M]."""
    M, N = model.config.quantizer.codebooks, model.config.quantizer.codes
    found = [np.zeros((0, 1 + M), dtype=np.uint32)]
    for name, table in counts.items():
        rows = np.flatnonzero(np.diff(table.indptr))
        codes = item_code_rows(rows, M) if name == "items" else np.stack([rows // N, rows % N], axis=1)
        found.append(codes.astype(np.uint32))
    return np.concatenate(found)
