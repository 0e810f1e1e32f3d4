"""Codes, their names in an index (terms), and the codes that users have."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

TERM = re.compile(r"(?:h(\d{1,9})_)?(\d{1,9}(?:_\d{1,9})*)")
ITEM_TERM = re.compile(r"(item|repeat)_(\d{1,10})")
REPEAT_HEAD, ITEM_HEAD = 0xFFFF_FFFE, 0xFFFF_FFFF
"""The heads of the codes of items, which an item of the history gives: a repeat code finds the item itself again, an item code
what follows it. A row is (head, item number, 0, …); other codes have smaller heads."""
HEADS = {"repeat": REPEAT_HEAD, "item": ITEM_HEAD}


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
class LatestItems:
    """Which items of a history give a code: its `latest`, the n-th latest with the boost decayⁿ⁻¹."""

    head: int
    """REPEAT_HEAD or ITEM_HEAD"""
    latest: int
    decay: float

    def __post_init__(self) -> None:
        """ValueError for a file's values that no configuration has."""
        whole = type(self.head) is int and type(self.latest) is int
        if not (whole and self.head in HEADS.values() and 0 <= self.latest <= 256 and 0 < self.decay <= 1):
            raise ValueError(f"{self} says of no items of a history that they give codes")


@dataclass(frozen=True)
class ItemCodes:
    """Scores of the codes of items in CSR form, for each head a row an item: what an item in a history says for items. Nothing is
    added."""

    offsets: np.ndarray
    """int64 [H · I + 1]"""
    items: np.ndarray
    """uint32 [n], ascending in a row"""
    scores: np.ndarray
    """float32 [n], positive"""
    heads: tuple[int, ...] = (ITEM_HEAD,)
    """Ascending, H of them"""

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def table(self, codebooks: int) -> np.ndarray:
        """The codes of all rows, uint32 [H · I, 1 + M], in lexicographic order."""
        numbers = np.arange(len(self) // len(self.heads))
        return np.concatenate([item_code_rows(numbers, codebooks, head) for head in self.heads])

    def rows(self, codes: np.ndarray) -> np.ndarray:
        """The row of each of some codes of items, uint32 [n, 1 + M] → int64 [n]."""
        place = np.searchsorted(np.array(self.heads), codes[:, 0])
        found: np.ndarray = place * (len(self) // len(self.heads)) + codes[:, 1].astype(np.int64)
        return found


def side_by_side(parts: Sequence[ItemCodes]) -> ItemCodes:
    """The codes of several heads, ascending, as one table."""
    lengths = np.concatenate([np.diff(part.offsets) for part in parts])
    return ItemCodes(
        np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]),
        np.concatenate([part.items for part in parts]),
        np.concatenate([part.scores for part in parts]),
        tuple(head for part in parts for head in part.heads),
    )


def term_of(code: Sequence[int] | np.ndarray, shared_heads: bool) -> str:
    """The term of a code row [1 + M]: `12_201`, `h3_12_201` where each head has codebooks of its own, `item_42` or `repeat_42` of
    an item."""
    for name, head in HEADS.items():
        if int(code[0]) == head:
            return f"{name}_{int(code[1])}"
    numbers = "_".join(str(int(part)) for part in code[1:])
    return numbers if shared_heads else f"h{int(code[0])}_{numbers}"


def item_term(item: int) -> str:
    """The term of an item's own code: `item_42` for item number 42."""
    return f"item_{item}"


def item_of_term(term: str) -> int | None:
    """The number of the item whose item code or repeat code a term is; None for any other."""
    match = ITEM_TERM.fullmatch(term)
    return None if match is None else int(match[2])


def in_words(term: str, item: str) -> str:
    """What the code of an item, whose name this is, says: `after The Lost River`; of a repeat code `The Lost River again`."""
    return f"{item} again" if term.startswith("repeat_") else f"after {item}"


def is_item_term(term: str) -> bool:
    """Whether a term is that of an item's code."""
    return item_of_term(term) is not None


def of_items(codes: np.ndarray) -> np.ndarray:
    """Which codes are of items, uint32 [T, 1 + M] → bool [T]."""
    found: np.ndarray = np.asarray(codes[:, 0]) >= REPEAT_HEAD
    return found


def parse_term(term: str, codebooks: int) -> tuple[int, ...]:
    """The code row (head, M sub-codes) of a term. Raises `ValueError` for anything that `term_of` does not write."""
    item = ITEM_TERM.fullmatch(term)
    if item is not None:
        return (HEADS[item[1]], int(item[2]), *[0] * (codebooks - 1))
    match = TERM.fullmatch(term)
    numbers = () if match is None else tuple(int(number) for number in match[2].split("_"))
    if match is None or len(numbers) != codebooks:
        raise ValueError(f"{term!r} is not the term of a code")
    return (int(match[1] or 0), *numbers)


def item_code_rows(items: np.ndarray, codebooks: int, head: int = ITEM_HEAD) -> np.ndarray:
    """The codes of items: item numbers [...] → uint32 [..., 1 + M]."""
    codes = np.zeros((*items.shape, 1 + codebooks), dtype=np.uint32)
    codes[..., 0], codes[..., 1] = head, items
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
