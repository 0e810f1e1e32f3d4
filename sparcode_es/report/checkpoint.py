"""Code vectors of a checkpoint, for the map of codes. This alone of a report needs torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sparcode_es.codes import parse_term, term_of
from sparcode_es.postings.principal import Rows

if TYPE_CHECKING:
    from sparcode_es.models.sparcode import SparCode


class CodeVectors:
    """A checkpoint's model, asked for the vectors of its codes. Raises `CheckpointError` for one without codes."""

    def __init__(self, path: Path) -> None:
        from sparcode_es.training.checkpoint import load_checkpoint

        self._model: SparCode = load_checkpoint(path)
        self.path, self.model_hash = path, self._model.model_hash

    def terms(self, most: int) -> list[str]:
        """The terms of all its codes; none where there are more than `most`."""
        if self._model.num_possible_codes > most:
            return []
        return [term_of(code, self._model.shared_heads) for code in self._model.all_codes()]

    def rows(self, terms: Sequence[str]) -> Rows:
        """T̃ + Δ of some codes (Eq. 8), as rows of D columns."""
        codebooks = self._model.config.quantizer.codebooks
        codes = np.array([parse_term(term, codebooks) for term in terms], dtype=np.uint32)
        vectors = self._model.vectors_of(codes).detach().cpu().float().numpy()
        columns = np.arange(vectors.shape[1])
        return Rows(len(vectors), vectors.shape[1], lambda i: (columns, vectors[i]))
