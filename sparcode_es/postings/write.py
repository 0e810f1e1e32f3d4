"""Writing the parts of an artifact that are not postings: tables, users, manifest."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from sparcode_es import csr
from sparcode_es.codes import UserCodes, rows_of
from sparcode_es.config import to_mapping
from sparcode_es.postings.manifest import Manifest
from sparcode_es.tables import StringTable


class SeenItems(Protocol):
    """Item numbers in CSR form, one row a user, oldest first (the data's `Sequences` is one)."""

    @property
    def offsets(self) -> np.ndarray:
        """uint64 [U + 1]"""
        ...

    @property
    def items(self) -> np.ndarray:
        """uint32 [...]"""
        ...


def write_items(folder: Path, item_ids: StringTable, item_docs: Iterable[Mapping[str, Any]]) -> None:
    """Write the items' identifiers and documents, in order of their numbers."""
    item_ids.save(folder, "item_ids")
    texts = (json.dumps(document, ensure_ascii=False) for document in item_docs)
    StringTable.build(texts, searchable=False).save(folder, "item_docs")


def write_users(
    folder: Path, user_ids: StringTable, user_codes: UserCodes, seen: SeenItems, table: np.ndarray
) -> dict[str, int]:
    """Write users' codes, as rows of `table` [C, 1 + M], and seen items; codes that have no row are dropped.

    Returns the counts `users`, `user_codes`, `user_codes_dropped`, `user_seen`.
    """
    user_ids.save(folder, "user_ids")
    rows = rows_of(table, user_codes.codes)
    kept = rows >= 0
    np.save(folder / "user_code_offsets.npy", csr.offsets_of(kept)[user_codes.offsets.astype(np.int64)])
    np.save(folder / "user_codes.npy", rows[kept].astype(np.uint32))
    np.save(folder / "user_boosts.npy", user_codes.boosts[kept].astype(np.float32))
    np.save(folder / "user_seen_offsets.npy", np.asarray(seen.offsets, dtype=np.uint64))
    np.save(folder / "user_seen.npy", np.asarray(seen.items, dtype=np.uint32))
    return {
        "users": len(user_codes),
        "user_codes": int(kept.sum()),
        "user_codes_dropped": int((~kept).sum()),
        "user_seen": len(seen.items),
    }


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write manifest.json."""
    content = to_mapping(manifest)
    if not manifest.updates:
        del content["updates"]
    (folder / "manifest.json").write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
