"""SparCode's scores of every item for the cases of a split, unrounded, for validation and for tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import sparse
from torch.nn import functional as F

from sparcode_es.codes import unique_codes
from sparcode_es.data.dataset import Cases, ScoreFunction
from sparcode_es.models.encode import assign_codes, encode_tokens
from sparcode_es.models.few import latest_events

if TYPE_CHECKING:
    from sparcode_es.models.sparcode import SparCode

BLOCK = 32_768
"""Items scored at once."""
LIFTED = 64
"""Codes whose lifts are added at once."""
DEVICE_BYTES = 1 << 30
"""A larger table of scores stays in main memory, whatever the model is on."""


class CodeTable:
    """Unrounded S of the codes that some cases have, for all items, and the cases' boosts on them."""

    def __init__(self, model: SparCode, cases: Cases) -> None:
        tokens = encode_tokens(model, cases.history_offsets, cases.history_items, cases.users)
        codes, self.boosts = assign_codes(model, tokens)
        flat, inverse = unique_codes(codes.reshape(-1, codes.shape[-1]))
        self.codes, self.rows = flat, inverse.reshape(codes.shape[:2])
        self.bias, self.device = model.bias, model.bias_parameter.device
        self.scores = np.empty((len(flat), model.num_items), dtype=np.float32)
        for begin in range(0, model.num_items, BLOCK):
            self.scores[:, begin : begin + BLOCK] = model.score_codes(flat, slice(begin, begin + BLOCK))
        self.memory, self.memory_rows = model.memory, None if model.memory is None else model.table_rows(flat)
        self.item_part = ItemPart(model, cases)

    def score_function(
        self, memory_weight: float = 0.0, item_weight: float | None = None, repeat_weight: float | None = None
    ) -> ScoreFunction:
        """Σ boost · ReLU(S + b) (Eq. 10 and 11) over all codes, as a function of case rows; -inf where nothing is retrieved.

        memory_weight: of the codes' lifts, which are added to those that S has by the model's own weight; item_weight,
        repeat_weight: of the item codes' lifts and of the repeat codes, instead of the model's.
        """
        sparse_scores = self.scores + self.bias
        if memory_weight:
            self._add_lifts(sparse_scores, memory_weight)
        table = torch.from_numpy(np.maximum(sparse_scores, 0, out=sparse_scores))
        device = self.device if table.nbytes <= DEVICE_BYTES else torch.device("cpu")
        table = table.to(device)

        def score(rows: np.ndarray) -> np.ndarray:
            index, boosts = torch.from_numpy(self.rows[rows]).to(device), torch.from_numpy(self.boosts[rows]).to(device)
            scores = F.embedding_bag(index, table, per_sample_weights=boosts, mode="sum").cpu().numpy()
            self.item_part.add_to(scores, rows, item_weight, repeat_weight)
            scores[scores <= 0] = -np.inf
            return scores

        return score

    def _add_lifts(self, scores: np.ndarray, weight: float) -> None:
        """Add weight · lift to scores of all codes, float32 [C, I], some codes at a time."""
        assert self.memory is not None
        assert self.memory_rows is not None
        for begin in range(0, len(scores), LIFTED):
            rows = self.memory_rows[begin : begin + LIFTED]
            scores[begin : begin + LIFTED] += weight * self.memory(rows, 0, scores.shape[1]).numpy()


class ItemPart:
    """What the codes of items give to the scores of some cases."""

    def __init__(self, model: SparCode, cases: Cases) -> None:
        settings, size = model.config.item_codes, model.num_items
        self.memory, self.repeat = model.item_memory, model.repeat
        if self.memory is not None:
            self._boosts = _boosts_on_items(cases, size, settings.latest, settings.decay)
        if self.repeat is not None:
            self._repeat_boosts = _boosts_on_items(cases, size, settings.repeat_latest, settings.repeat_decay)

    def add_to(
        self, scores: np.ndarray, rows: np.ndarray, weight: float | None = None, repeat_weight: float | None = None
    ) -> None:
        """Add Σ boost · weight · lift, and boost · weight of the repeat codes, to scores of case rows, float32 [B, I]. None: the
        model's own weights."""
        if self.memory is not None and (weight := float(self.memory.weight) if weight is None else weight):
            scores += weight * (self._boosts[rows] @ self.memory.lifts).toarray()
        if self.repeat is not None and (self.repeat.active if repeat_weight is None else repeat_weight):
            scores += self._repeat_boosts[rows].toarray() * self.repeat.scores(repeat_weight)


def _boosts_on_items(cases: Cases, num_items: int, latest: int, decay: float) -> sparse.csr_matrix:
    """What each case weighs its latest items, those that occur again added up: float32 [cases, I]."""
    numbers, boosts = latest_events(cases.history_offsets, cases.history_items, latest, decay)
    owners = np.repeat(np.arange(len(numbers)), numbers.shape[1])
    return sparse.csr_matrix((boosts.ravel(), (owners, numbers.ravel())), shape=(len(numbers), num_items))
