"""Events as they come out of a reader, and what the reader had to say about bad rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from sparcode_es.errors import DataError

LONGEST = 40
"""Digits of a whole number; longer identifiers are texts."""
SHOWN = 5
"""How many bad rows a report spells out."""
LONGEST_VALUE = 40
"""Characters of a bad value that are shown."""


@dataclass(frozen=True)
class BadRow:
    """A row that was refused: the line it is on (counted from 1, a header included) and why."""

    line: int
    reason: str


@dataclass
class ReadReport:
    """Rows seen, how many were bad, the first few of those."""

    rows: int = 0
    bad: int = 0
    first: list[BadRow] = field(default_factory=list)
    user_column: str = ""
    """Where the users were read; empty for a source without named columns."""
    item_column: str = ""

    def refuse(self, lines: np.ndarray, reason: str, values: Sequence[str | None] = ()) -> None:
        """Count these lines as bad for this reason. `values`: what stands there instead, for the first `SHOWN` lines."""
        self.bad += len(lines)
        shown = [f": {value[:LONGEST_VALUE]!r}" if value else "" for value in values] or [""] * SHOWN
        fresh = [BadRow(int(line), reason + value) for line, value in zip(lines[:SHOWN], shown, strict=False)]
        self.first = sorted([*self.first, *fresh], key=lambda row: row.line)[:SHOWN]

    def describe(self, source: str) -> str:
        """One line a bad row that is shown, after a line with the count."""
        shown = "\n".join(f"  line {row.line}: {row.reason}" for row in self.first)
        return (
            f"{source} has {self.bad:,} bad {'row' if self.bad == 1 else 'rows'} of {self.rows:,}, the first:\n{shown}"
        )

    def check(self, source: str, skip: bool) -> None:
        """Raise `DataError` when there are bad rows and they are not to be skipped."""
        if self.bad and not skip:
            raise DataError(f"{self.describe(source)}\nMend them, or leave them out with --skip-bad-rows.")


@dataclass(frozen=True)
class Events:
    """Good events in the source's order, with numbers for identifiers.

    `users`, `items`: int64 [E], rows of `user_ids` and `item_ids` (distinct strings; a reader may name some that no event
    uses); `times`: float64 [E], seconds with their fractions, or None where the source has none.
    """

    users: np.ndarray
    items: np.ndarray
    times: np.ndarray | None
    user_ids: list[str]
    item_ids: list[str]
    report: ReadReport

    def __len__(self) -> int:
        return len(self.users)

    def used_users(self) -> list[str]:
        """The identifiers of the users that have an event."""
        return _compact(self.users, self.user_ids)[1]

    def used_items(self) -> list[str]:
        """The identifiers of the items that an event names."""
        return _compact(self.items, self.item_ids)[1]

    def select(self, kept: np.ndarray) -> Events:
        """The events where `kept` (bool [E]) holds; identifiers that no event uses any more are dropped."""
        times = None if self.times is None else self.times[kept]
        users, user_ids = _compact(self.users[kept], self.user_ids)
        items, item_ids = _compact(self.items[kept], self.item_ids)
        return Events(users, items, times, user_ids, item_ids, self.report)

    def in_natural_order(self) -> Events:
        """Renumber users and items: by value when all identifiers are whole numbers, else by their UTF-8 bytes."""
        users, user_ids = _renumber(self.users, self.user_ids)
        items, item_ids = _renumber(self.items, self.item_ids)
        return Events(users, items, self.times, user_ids, item_ids, self.report)

    def by_user_and_time(self) -> np.ndarray:
        """The rows by user, each user's oldest first, int64 [E].

        Rows of equal times keep the source's order, or the reverse of it where the source has the newest first: where more
        than two in three of its steps in time lead back.
        """
        rows = np.arange(len(self))
        if self.times is None:
            return rows[np.lexsort([self.users])]
        steps = np.diff(self.times)
        if (steps < 0).sum() > 2 * (steps > 0).sum():
            rows = rows[::-1]
        return rows[np.lexsort([self.times[rows], self.users[rows]])]


def _compact(numbers: np.ndarray, ids: list[str]) -> tuple[np.ndarray, list[str]]:
    used = np.bincount(numbers, minlength=len(ids)) > 0
    renumbered = np.cumsum(used) - 1
    return renumbered[numbers], [ids[row] for row in np.flatnonzero(used)]


def _renumber(numbers: np.ndarray, ids: list[str]) -> tuple[np.ndarray, list[str]]:
    whole = all(len(text) <= LONGEST and text.isascii() and text.isdigit() for text in ids)
    keys = [(int(text), text) for text in ids] if whole else [text.encode("utf-8", "surrogatepass") for text in ids]
    order = sorted(range(len(ids)), key=keys.__getitem__)
    place = np.empty(len(ids), dtype=np.int64)
    place[order] = np.arange(len(ids))
    return place[numbers], [ids[row] for row in order]
