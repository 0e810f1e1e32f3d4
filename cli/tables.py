"""Tables for a terminal: one line a row, cut to the width there is, and nothing in a text that a terminal would obey."""

from __future__ import annotations

import shutil
import sys
import unicodedata
from collections.abc import Sequence

from sparcode_es.visible import visible

SEPARATOR = "  "
NARROWEST = 8


def width(text: str) -> int:
    """Columns that a text takes: two a wide letter, none a combining mark."""
    return sum(
        0 if unicodedata.combining(each) else 2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in text
    )


def cut(text: str, room: int) -> str:
    """A text of at most `room` columns, with `…` where something is missing."""
    if width(text) <= room:
        return text
    kept = ""
    for letter in text:
        if width(kept + letter) >= room:
            break
        kept += letter
    return kept.rstrip() + "…"


def room_on_screen() -> int | None:
    """The terminal's columns; None where the output is no terminal, so that nothing is cut."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def table(headers: Sequence[str], rows: Sequence[Sequence[object]], room: int | None = None) -> list[str]:
    """The lines of a table: numbers to the right, texts to the left, the widest columns cut so that a line fits `room`."""
    texts = [[_text(value) for value in row] for row in rows]
    right = [
        all(isinstance(row[i], (int, float)) or row[i] is None for row in rows) and bool(rows)
        for i in range(len(headers))
    ]
    sizes = [max(map(width, column)) for column in zip(headers, *texts, strict=True)]
    if room is not None:
        _narrow(sizes, room - len(SEPARATOR) * (len(sizes) - 1))
    return [_line(row, sizes, right) for row in [headers, *texts]]


def _narrow(sizes: list[int], room: int) -> None:
    """Make the widest column narrower, the last of equal ones, until all fit; none below `NARROWEST`."""
    while sum(sizes) > room and max(sizes) > NARROWEST:
        widest = max(range(len(sizes)), key=lambda column: (sizes[column], column))
        sizes[widest] -= 1


def _line(texts: Sequence[str], sizes: list[int], right: list[bool]) -> str:
    cells = []
    for text, size, to_right in zip(texts, sizes, right, strict=True):
        shown = cut(text, size)
        space = " " * (size - width(shown))
        cells.append(space + shown if to_right else shown + space)
    return SEPARATOR.join(cells).rstrip()


def _text(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.4f}" if isinstance(value, float) else visible(str(value))
