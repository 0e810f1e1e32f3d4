"""Codes, their names in an index (terms), and the codes that users have."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

TERM = re.compile(r"(?:h(\d{1,9})_)?(\d{1,9}(?:_\d{1,9})*)")
ITEM_TERM = re.compile(r"item_(\d{1,10})")
ITEM_HEAD = 0xFFFF_FFFF
"""The head of item codes: an item of the history that stands for itself. Its row is (ITEM_HEAD, item number, 0, …)."""


@dataclass(frozen=True)
class Clause:
    """One code of a query: its term, and how much its postings count."""

    term: str
    boost: float


@dataclass(frozen=True)
class UserCodes:
    """The codes of U users, merged: at most one entry per (user, code). User u has rows offsets[u]:offsets[u + 1]."""

    offsets: np.ndarray
    """uint64 [U + 1]"""
    codes: np.ndarray
    """uint32 [T, 1 + M]: head (0 when heads share their codebooks), then the M sub-codes; or an item code"""
    boosts: np.ndarray
    """float32 [T], positive"""

    def __len__(self) -> int:
        return len(self.offsets) - 1


@dataclass(frozen=True)
class ItemCodes:
    """Scores of the item codes in CSR form: row j holds what item j in a history says for other items. Nothing is added."""

    offsets: np.ndarray
    """int64 [I + 1]"""
    items: np.ndarray
    """uint32 [n], ascending in a row"""
    scores: np.ndarray
    """float32 [n], positive"""


def term_of(code: Sequence[int] | np.ndarray, shared_heads: bool) -> str:
    """The term of a code row [1 + M]: `12_201`, `h3_12_201` where each head has codebooks of its own, `item_42` of an item."""
    if int(code[0]) == ITEM_HEAD:
        return item_term(int(code[1]))
    numbers = "_".join(str(int(part)) for part in code[1:])
    return numbers if shared_heads else f"h{int(code[0])}_{numbers}"


def item_term(item: int) -> str:
    """The term of an item's own code: `item_42` for item number 42."""
    return f"item_{item}"


def is_item_term(term: str) -> bool:
    """Whether a term is that of an item code."""
    return ITEM_TERM.fullmatch(term) is not None


def parse_term(term: str, codebooks: int) -> tuple[int, ...]:
    """The code row (head, M sub-codes) of a term. Raises `ValueError` for anything that `term_of` does not write."""
    item = ITEM_TERM.fullmatch(term)
    if item is not None:
        return (ITEM_HEAD, int(item[1]), *[0] * (codebooks - 1))
    match = TERM.fullmatch(term)
    numbers = () if match is None else tuple(int(number) for number in match[2].split("_"))
    if match is None or len(numbers) != codebooks:
        raise ValueError(f"{term!r} is not the term of a code")
    return (int(match[1] or 0), *numbers)


def item_code_rows(items: np.ndarray, codebooks: int) -> np.ndarray:
    """The codes of items: item numbers [...] → uint32 [..., 1 + M]."""
    codes = np.zeros((*items.shape, 1 + codebooks), dtype=np.uint32)
    codes[..., 0], codes[..., 1] = ITEM_HEAD, items
    return codes


def clauses_of(user_codes: UserCodes, user: int, shared_heads: bool) -> tuple[Clause, ...]:
    """The clauses of one user of `user_codes`."""
    start, stop = int(user_codes.offsets[user]), int(user_codes.offsets[user + 1])
    return tuple(
        Clause(term_of(user_codes.codes[i], shared_heads), float(user_codes.boosts[i])) for i in range(start, stop)
    )


def unique_codes(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct rows in lexicographic order and where each row went: uint32 [T, 1 + M] → [C, 1 + M], int64 [T]."""
    if len(codes) == 0:
        return codes.reshape(0, codes.shape[1]), np.zeros(0, dtype=np.int64)
    order = np.lexsort(codes.T[::-1])
    ordered = codes[order]
    first = np.ones(len(codes), dtype=bool)
    first[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    inverse = np.empty(len(codes), dtype=np.int64)
    inverse[order] = np.cumsum(first) - 1
    return ordered[first], inverse


def rows_of(table: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """The row of each code in a table of distinct codes, -1 where it has none: [C, 1 + M], [T, 1 + M] → int64 [T]."""
    distinct, inverse = unique_codes(np.concatenate([table, codes]))
    row = np.full(len(distinct), -1, dtype=np.int64)
    row[inverse[: len(table)]] = np.arange(len(table))
    return row[inverse[len(table) :]]
