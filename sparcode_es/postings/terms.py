"""From a term to the row of its code, fast also where there are millions of codes."""

from __future__ import annotations

import functools

import numpy as np

from sparcode_es.codes import parse_term, term_of

REMEMBERED = 1 << 16
"""Terms whose rows are kept, the latest asked for: at most about 10 MB."""


class TermRows:
    """The rows of codes uint32 [C, 1 + M], which are in lexicographic order, by their terms.

    A row is one key of 4 (1 + M) bytes, big-endian, so that the order of keys is the order of rows.
    """

    def __init__(self, codes: np.ndarray, shared_heads: bool) -> None:
        self._codebooks, self._shared_heads = codes.shape[1] - 1, shared_heads
        self._keys = _keys(codes)
        self.find = functools.lru_cache(REMEMBERED)(self._find)

    def _find(self, term: str) -> int | None:
        """The row of a term's code, or None when there is no such code. O(log C)."""
        try:
            code = parse_term(term, self._codebooks)
        except ValueError:
            return None
        if term_of(code, self._shared_heads) != term:
            return None
        key = _keys(np.array([code], dtype=np.uint32))
        row = int(self._keys.searchsorted(key)[0])
        return row if row < len(self._keys) and self._keys[row] == key[0] else None


def _keys(codes: np.ndarray) -> np.ndarray:
    """uint32 [n, 1 + M] → bytes [n]. NumPy compares such bytes as if ended by zeros, which keys of one length bear."""
    return np.ascontiguousarray(codes, dtype=">u4").view(f"S{4 * codes.shape[1]}").ravel()
