"""The codes of an artifact, and those that its users came to have since: one table, in which the old ones moved apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sparcode_es.codes import unique_codes


@dataclass(frozen=True)
class GrownCodes:
    """The codes of an updated artifact."""

    codes: np.ndarray
    """uint32 [C', 1 + M], in lexicographic order"""
    old_rows: np.ndarray
    """The row of each in the artifact of before, int64 [C'], -1 for a new one."""

    @classmethod
    def of(cls, old: np.ndarray, asked: np.ndarray) -> GrownCodes:
        """The codes `old` uint32 [C, 1 + M], in lexicographic order, and those of `asked` uint32 [n, 1 + M] beside them."""
        codes, inverse = unique_codes(np.concatenate([old, asked]))
        old_rows = np.full(len(codes), -1, dtype=np.int64)
        old_rows[inverse[: len(old)]] = np.arange(len(old))
        return cls(codes, old_rows)

    @property
    def new(self) -> np.ndarray:
        """The rows of the new codes, int64 [n], ascending."""
        return np.flatnonzero(self.old_rows < 0)

    @property
    def kept(self) -> np.ndarray:
        """Where each old row went, int64 [C]."""
        return np.flatnonzero(self.old_rows >= 0)
