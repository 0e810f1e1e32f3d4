"""Texts of others, shown so that nothing in them is obeyed or hidden."""

from __future__ import annotations

import unicodedata

HALF_LINE = 1000
PICTURES = 0x2400
"""Unicode's pictures of the control characters 0 to 31."""


def visible(text: str) -> str:
    """A text whose control, formatting and line-breaking characters can be seen: `␛` for an escape, `\\u202e` for others."""
    return "".join(_visible(letter) for letter in text)


def visible_lines(text: str) -> str:
    """The same for a text of several lines, which stay lines; the middle of a line that nobody would read is left out."""
    return "\n".join(visible(_shortened(line)) for line in text.split("\n"))


def _shortened(line: str) -> str:
    return line if len(line) <= 2 * HALF_LINE else f"{line[:HALF_LINE]} … {line[-HALF_LINE:]}"


def _visible(letter: str) -> str:
    number = ord(letter)
    if number < 32:
        return chr(PICTURES + number)
    if number == 127:
        return "␡"
    if unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp"):
        return f"\\u{number:04x}"
    return letter
