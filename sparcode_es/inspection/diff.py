"""What changed between two generations, two artifacts, or one of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from sparcode_es.engines.inspector import Contents, Group, group

Progress = Callable[[int, int], None]
"""Told (how many more codes, of how many)."""


@dataclass(frozen=True)
class Side:
    """One of the two."""

    label: str
    model_hash: str
    items: int
    codes: int
    postings: int


@dataclass(frozen=True)
class Change:
    """Things added, removed and changed from the first to the second."""

    added: Group
    removed: Group
    changed: Group


@dataclass(frozen=True)
class PostingChange:
    """Postings added and removed, and those that have another score."""

    added: int
    removed: int
    changed: int


@dataclass(frozen=True)
class Diff:
    """What changed. A code of one model says nothing of another's: `codes` and `postings` are None between two models."""

    before: Side
    after: Side
    same_model: bool
    items: Change
    """By title and attributes."""
    codes: Change | None
    """By postings."""
    postings: PostingChange | None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def diff(before: Contents, after: Contents, examples: int, progress: Progress | None = None) -> Diff:
    """Compare two contents. Only rows whose fingerprints differ are read."""
    told = progress or (lambda more, total: None)
    items, codes = (before.items(), after.items()), (before.codes(), after.codes())
    same = (before.model_hash, before.codebook_hash) == (after.model_hash, after.codebook_hash)
    return Diff(
        before=_side(before, items[0], codes[0]),
        after=_side(after, items[1], codes[1]),
        same_model=same,
        items=_change(*items, examples),
        codes=_change(*codes, examples) if same else None,
        postings=_postings(before, after, *codes, told) if same else None,
    )


def _side(contents: Contents, items: dict[str, str], codes: dict[str, tuple[int, str]]) -> Side:
    postings = sum(count for count, _ in codes.values())
    return Side(contents.label, contents.model_hash, len(items), len(codes), postings)


def _change(before: dict[str, Any], after: dict[str, Any], examples: int) -> Change:
    return Change(
        added=group(after.keys() - before.keys(), examples),
        removed=group(before.keys() - after.keys(), examples),
        changed=group((name for name in before.keys() & after.keys() if before[name] != after[name]), examples),
    )


def _postings(
    before: Contents,
    after: Contents,
    old: dict[str, tuple[int, str]],
    new: dict[str, tuple[int, str]],
    told: Progress,
) -> PostingChange:
    """Row by row, of the codes that both have and whose fingerprints differ; the others count whole."""
    added = sum(count for term, (count, _) in new.items() if term not in old)
    removed = sum(count for term, (count, _) in old.items() if term not in new)
    both = sorted(term for term in old.keys() & new.keys() if old[term] != new[term])
    changed = 0
    told(0, len(both))
    for term in both:
        left, right = dict(before.row(term)), dict(after.row(term))
        added += len(right.keys() - left.keys())
        removed += len(left.keys() - right.keys())
        changed += sum(left[item] != right[item] for item in left.keys() & right.keys())
        told(1, len(both))
    return PostingChange(added, removed, changed)
