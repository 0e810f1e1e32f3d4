"""Fitting the memory: the lifts of the training pairs, and their weight by a search on validation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sparcode_es.models.encode import assign_codes
from sparcode_es.models.sparcode import SparCode
from sparcode_es.training.validation import CodeTable

if TYPE_CHECKING:
    from sparcode_es.training.loop import Trainer

WEIGHTS = (0.0, 0.125, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)


def fit_memory(trainer: Trainer, model: SparCode) -> dict[str, float]:
    """Fill the model's memory from the training pairs and give it the weight with the best validation metric."""
    if model.memory is None:
        return {}
    tokens, targets = trainer.training_tokens(model)
    codes, boosts = assign_codes(model, tokens)
    model.memory.fit(table_rows(model, codes), boosts, targets.numpy())
    table = CodeTable(model, trainer.validation)
    rows = table_rows(model, table.codes)
    lifts = model.memory(rows, 0, model.num_items).numpy()
    metric = trainer.config.training.metric
    found = {w: trainer.metrics(table.score_function(extra=w * lifts))[metric] for w in WEIGHTS}
    best = max(found, key=lambda w: found[w])
    model.memory.weight.fill_(best)
    trainer.log.write(stage="memory", **{f"weight {w}": value for w, value in found.items()})
    return {"memory_weight": best, "memory_validation": found[best]}


def table_rows(model: SparCode, codes: np.ndarray) -> np.ndarray:
    """Codes uint32 [..., 2] of M = 1 → rows of the memory, int64 [...]."""
    return codes[..., 0].astype(np.int64) * model.config.quantizer.codes + codes[..., 1].astype(np.int64)
