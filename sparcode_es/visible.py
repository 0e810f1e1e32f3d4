"""Texts of others, shown so that nothing in them is obeyed or hidden."""

from __future__ import annotations

import unicodedata

PICTURES = 0x2400
"""Unicode's pictures of the control characters 0 to 31."""


def visible(text: str) -> str:
    """A text whose control, formatting and line-breaking characters can be seen: `␛` for an escape, `\\u202e` for others."""
    return "".join(_visible(letter) for letter in text)


def visible_lines(text: str) -> str:
    """The same for a text of several lines, which stay lines."""
    return "\n".join(map(visible, text.split("\n")))


def _visible(letter: str) -> str:
    number = ord(letter)
    if number < 32:
        return chr(PICTURES + number)
    if number == 127:
        return "␡"
    if unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp"):
        return f"\\u{number:04x}"
    return letter
