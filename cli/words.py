"""Words that go with numbers."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """`1 item`, `2 items`, `1,500 items`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
