"""Tables of a document between two markers, written by the command that measured them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sparcode_es.files import atomic_write

END = "<!-- end -->"


def fill(document: Path, name: str, lines: Sequence[str]) -> None:
    """Put lines between `<!-- NAME -->` and the `<!-- end -->` behind it. Raises `ValueError` where a marker is missing."""
    text, begin = document.read_text(encoding="utf-8"), f"<!-- {name} -->"
    head, found, rest = text.partition(begin)
    _, ended, tail = rest.partition(END)
    if not found or not ended:
        raise ValueError(f"{document} has no {begin} … {END}")
    with atomic_write(document, "w") as file:
        file.write("\n".join([head + begin, "", *lines, "", END + tail]))


def row(cells: Sequence[object]) -> str:
    """A row of a Markdown table."""
    return f"| {' | '.join(map(str, cells))} |"
