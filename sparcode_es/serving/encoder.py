"""Histories → the codes of users, with the model. An exported encoder (`exported.py`) does it without torch."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sparcode_es import csr
from sparcode_es.codes import UserCodes
from sparcode_es.errors import MismatchError
from sparcode_es.models.encode import assign_codes, assign_few_codes, encode_tokens
from sparcode_es.models.sparcode import SparCode
from sparcode_es.serving.histories import item_numbers, merge_codes, with_item_codes
from sparcode_es.tables import StringTable


def encode_histories(
    model: SparCode, offsets: np.ndarray, items: np.ndarray, users: np.ndarray | None = None, few: bool = False
) -> UserCodes:
    """The codes of n histories in CSR form (item numbers, oldest first). A user with an empty history has no codes, unless
    the model reads the user's features alone.

    users: rows of the user features, int64 [n], as in `encode_tokens`; None means unknown for all. few: by `assign_few_codes`.
    """
    lengths = np.diff(offsets.astype(np.int64))
    filled = np.flatnonzero(lengths) if model.config.tokenizer.source == "history" else np.arange(len(lengths))
    kept = csr.offsets_of(lengths[filled])
    rows = None if users is None else users[filled]
    tokens = encode_tokens(model, kept, items, rows)
    codes, boosts = assign_few_codes(model, tokens) if few else assign_codes(model, tokens)
    codes, boosts = with_item_codes(model.latest_items, kept, items, codes, boosts)
    return merge_codes(codes, boosts, filled, len(lengths))


class HistoryEncoder:
    """Item ids → codes, from a checkpoint: what `query --history` needs."""

    def __init__(self, model: SparCode, item_ids: StringTable) -> None:
        self.model, self.item_ids = model, item_ids
        self.shared_heads = model.shared_heads

    @classmethod
    def from_checkpoint(cls, path: Path) -> HistoryEncoder:
        """Raises `CheckpointError`, also for a model without codes."""
        from sparcode_es.training.checkpoint import read_sparcode

        return cls(*read_sparcode(path))

    @functools.cached_property
    def hashes(self) -> tuple[str, str]:
        """Of the model and of its codebooks, computed once: all weights are read."""
        return self.model.model_hash, self.model.codebook_hash

    def __call__(self, items: Sequence[str]) -> UserCodes:
        """The codes of one user who is not in the index, from the ids of their items, oldest first."""
        if self.model.config.tokenizer.source == "features":
            raise MismatchError("this model reads users' features, not histories; ask for a user that the index knows")
        numbers = item_numbers(self.item_ids, items)
        return encode_histories(self.model, np.array([0, len(numbers)]), numbers, few=True)
