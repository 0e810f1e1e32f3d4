"""From a term to the row of its code, fast also where there are millions of codes."""

from __future__ import annotations

import functools

import numpy as np

from sparcode_es.codes import HEADS, REPEAT_HEAD, parse_term, term_of

REMEMBERED = 1 << 16
"""Terms whose rows are kept, the latest asked for: at most about 10 MB."""


class TermRows:
    """The rows of codes uint32 [C, 1 + M], in lexicographic order, those of items last, by their terms.

    A code of an item is found by the item's number; of another code, a key of 4 (1 + M) bytes, big-endian, is searched, so that
    the order of keys is the order of rows.
    """

    def __init__(self, codes: np.ndarray, shared_heads: bool) -> None:
        self._codebooks, self._shared_heads = codes.shape[1] - 1, shared_heads
        heads = np.ascontiguousarray(codes[:, 0])
        self._keys = _keys(codes[: int(np.searchsorted(heads, REPEAT_HEAD))])
        self._item_rows = {name: _by_item(heads, codes, head) for name, head in HEADS.items()}
        self.find = functools.lru_cache(REMEMBERED)(self._find)

    def _find(self, term: str) -> int | None:
        """The row of a term's code, or None when there is no such code. O(log C)."""
        kind, _, number = term.partition("_")
        rows = self._item_rows.get(kind)
        if rows is None:
            return self._find_key(term)
        # A longer one is no item's; `isdecimal` also takes digits of other scripts, which `str` then tells apart.
        if not number.isdecimal() or len(number) > 10:
            return None
        item = int(number)
        if item >= len(rows) or str(item) != number:
            return None
        row = int(rows[item])
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


def _by_item(heads: np.ndarray, codes: np.ndarray, head: int) -> np.ndarray:
    """The row of each item's code with a head, int32 [n], -1 where it has none."""
    first, stop = (int(np.searchsorted(heads, head, side)) for side in ("left", "right"))
    items = codes[first:stop, 1].astype(np.int64)
    rows = np.full(int(items.max(initial=-1)) + 1, -1, dtype=np.int32)
    rows[items] = np.arange(first, stop)
    return rows


def _keys(codes: np.ndarray) -> np.ndarray:
    """uint32 [n, 1 + M] → bytes [n]. NumPy leaves zeros at the end out of a comparison; all keys have one length."""
    return np.ascontiguousarray(codes, dtype=">u4").view(f"S{4 * codes.shape[1]}").ravel()
