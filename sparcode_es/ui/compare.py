"""Two lists of the same question, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Comparison:
    """How two lists of items differ."""

    shared: int
    """Items that both have."""
    same_place: int
    """Of these, those at the same place."""
    only_left: int
    only_right: int
    left: tuple[int | None, ...]
    """For each item of the left list its place in the right one, from 1; None where that has it not."""
    right: tuple[int | None, ...]
    """The same the other way round."""


def compare(left: Sequence[str], right: Sequence[str]) -> Comparison:
    """Compare two lists of distinct items."""
    in_left = {item: place for place, item in enumerate(left, start=1)}
    in_right = {item: place for place, item in enumerate(right, start=1)}
    shared = in_left.keys() & in_right.keys()
    return Comparison(
        shared=len(shared),
        same_place=sum(in_left[item] == in_right[item] for item in shared),
        only_left=len(in_left) - len(shared),
        only_right=len(in_right) - len(shared),
        left=tuple(in_right.get(item) for item in left),
        right=tuple(in_left.get(item) for item in right),
    )
