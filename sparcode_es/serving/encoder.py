"""Histories → the codes of users, with the model. The only part of serving that needs torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sparcode_es.codes import Clause, UserCodes, clauses_of, item_code_rows, unique_codes
from sparcode_es.errors import MismatchError, NotFoundError
from sparcode_es.models.encode import assign_codes, encode_tokens, latest_items
from sparcode_es.models.sparcode import SparCode
from sparcode_es.tables import StringTable


def encode_histories(
    model: SparCode, offsets: np.ndarray, items: np.ndarray, users: np.ndarray | None = None
) -> UserCodes:
    """The codes of n histories in CSR form (item numbers, oldest first). A user with an empty history has no codes, unless
    the model reads the user's features alone.

    users: rows of the user features, int64 [n] with -1 for unknown; None means unknown for all.
    """
    lengths = np.diff(offsets.astype(np.int64))
    filled = np.flatnonzero(lengths) if model.config.tokenizer.source == "history" else np.arange(len(lengths))
    kept = np.concatenate([[0], np.cumsum(lengths[filled])])
    rows = None if users is None else users[filled]
    codes, boosts = assign_codes(model, encode_tokens(model, kept, items, rows))
    if model.item_codes is not None:
        latest, weights = latest_items(model.config.item_codes, kept, items)
        codes = np.concatenate([codes, item_code_rows(latest, codes.shape[-1] - 1)], axis=1)
        boosts = np.concatenate([boosts, weights], axis=1)
    return _merge(codes, boosts, filled, len(lengths))


def _merge(codes: np.ndarray, boosts: np.ndarray, users: np.ndarray, num_users: int) -> UserCodes:
    """Add up the boosts that a user has on one code; leave out boosts of 0. codes: [n, R, 1 + M], boosts: [n, R]."""
    positive = boosts > 0
    owner = np.broadcast_to(users[:, None], boosts.shape)[positive].astype(np.uint32)
    keyed = np.column_stack([owner, codes[positive]]).astype(np.uint32)
    distinct, inverse = unique_codes(keyed)
    total = np.bincount(inverse, weights=boosts[positive], minlength=len(distinct)).astype(np.float32)
    counts = np.bincount(distinct[:, 0], minlength=num_users)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.uint64)
    return UserCodes(offsets, distinct[:, 1:], total)


class HistoryEncoder:
    """Item ids → codes, from a checkpoint: what `query --history` needs."""

    def __init__(self, model: SparCode, item_ids: StringTable) -> None:
        self.model, self.item_ids = model, item_ids

    @classmethod
    def from_checkpoint(cls, path: Path) -> HistoryEncoder:
        """Raises `CheckpointError`, also for a model without codes."""
        from sparcode_es.training.checkpoint import read_sparcode

        return cls(*read_sparcode(path))

    @property
    def hashes(self) -> tuple[str, str]:
        """Of the model and of its codebooks."""
        return self.model.model_hash, self.model.codebook_hash

    def clauses(self, items: Sequence[str]) -> tuple[Clause, ...]:
        """The codes of somebody new as a query takes them; items that the model does not know are left out."""
        known = [item for item in items if self.item_ids.find(item) is not None]
        if items and not known:
            raise NotFoundError("the model knows none of the history's items")
        return clauses_of(self(known), 0, self.model.shared_heads)

    def numbers(self, items: Sequence[str]) -> np.ndarray:
        """Item ids → item numbers, uint32 [n]. Raises `NotFoundError` naming the unknown ones, and for an empty history."""
        found = [self.item_ids.find(item) for item in items]
        unknown = [item for item, number in zip(items, found, strict=True) if number is None]
        if unknown:
            shown = ", ".join(repr(item) for item in unknown[:5]) + (" …" if len(unknown) > 5 else "")
            raise NotFoundError(
                f"the model does not know {len(unknown)} of the history's items: {shown}; leave them out"
            )
        if not items:
            raise NotFoundError("the history is empty; give at least one item id")
        return np.array(found, dtype=np.uint32)

    def __call__(self, items: Sequence[str]) -> UserCodes:
        """The codes of one user who is not in the index, from the ids of their items, oldest first."""
        if self.model.config.tokenizer.source == "features":
            raise MismatchError("this model reads users' features, not histories; ask for a user that the index knows")
        numbers = self.numbers(items)
        return encode_histories(self.model, np.array([0, len(numbers)]), numbers)
