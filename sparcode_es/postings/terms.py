"""From a term to the row of its code, fast also where there are millions of codes."""

from __future__ import annotations

import functools

import numpy as np

from sparcode_es.codes import ITEM_HEAD, parse_term, term_of

REMEMBERED = 1 << 16
"""Terms whose rows are kept, the latest asked for: at most about 10 MB."""


class TermRows:
    """The rows of codes uint32 [C, 1 + M], which are in lexicographic order, item codes last, by their terms.

    An item code is found by the item's number; of another code, a key of 4 (1 + M) bytes, big-endian, is searched, so that the
    order of keys is the order of rows.
    """

    def __init__(self, codes: np.ndarray, shared_heads: bool) -> None:
        self._codebooks, self._shared_heads = codes.shape[1] - 1, shared_heads
        first = int(np.searchsorted(np.ascontiguousarray(codes[:, 0]), ITEM_HEAD))
        self._keys = _keys(codes[:first])
        items = codes[first:, 1].astype(np.int64)
        self._item_rows = np.full(int(items.max(initial=-1)) + 1, -1, dtype=np.int32)
        self._item_rows[items] = np.arange(first, len(codes))
        self.find = functools.lru_cache(REMEMBERED)(self._find)

    def _find(self, term: str) -> int | None:
        """The row of a term's code, or None when there is no such code. O(log C)."""
        if not term.startswith("item_"):
            return self._find_key(term)
        number = term[5:]
        # A longer one is no item's; `isdecimal` also takes digits of other scripts, which `str` then tells apart.
        if not number.isdecimal() or len(number) > 10:
            return None
        item = int(number)
        if item >= len(self._item_rows) or str(item) != number:
            return None
        row = int(self._item_rows[item])
        return row if row >= 0 else None

    def _find_key(self, term: str) -> int | None:
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
    """uint32 [n, 1 + M] → bytes [n]. NumPy leaves zeros at the end out of a comparison; all keys have one length."""
    return np.ascontiguousarray(codes, dtype=">u4").view(f"S{4 * codes.shape[1]}").ravel()
