"""How often each of very many things was met, in bounded memory."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class Frequent(Generic[T]):
    """Counts, exact while there are at most `most` different things.

    Of more, the rarest are forgotten until half are left (lossy counting: Manku and Motwani, 2002). A count is then too high by
    `missed` at most, and what is not there was met at most `missed` times.
    """

    def __init__(self, most: int) -> None:
        self.most, self.missed = most, 0
        self._counts: dict[T, int] = {}

    def __len__(self) -> int:
        return len(self._counts)

    def add(self, things: Iterable[T]) -> None:
        """Count some things, each once for every time it is given."""
        counts, missed = self._counts, self.missed
        for thing in things:
            counts[thing] = counts.get(thing, missed) + 1
        if len(counts) > self.most:
            while len(self._counts) > self.most / 2:
                self.forget()

    def forget(self) -> None:
        """Leave out what was met least."""
        self.missed += 1
        self._counts = {thing: count for thing, count in self._counts.items() if count > self.missed}

    def __getitem__(self, thing: T) -> int:
        return self._counts.get(thing, self.missed)
