"""Lists that a table's cell holds as text → their entries."""

from __future__ import annotations

import ast
import re
import warnings

from sparcode_es.files import parse_json

QUOTED = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
ENTRY = rf"""(?:{QUOTED}|(?!\.\.\.)[^\s,'"()\[\]]+)"""
WITHIN = re.compile(rf"(?:{ENTRY}(?:(?:\s*,\s*{ENTRY})*|(?:\s+{ENTRY})*))?", re.DOTALL)
ENTRIES = re.compile(ENTRY, re.DOTALL)
FORMS = """["a", "b"], ['a', 'b'] or [a b]"""


def is_bracketed(text: str) -> bool:
    """Whether a text without blanks around it could be a list."""
    return len(text) > 1 and text[0] == "[" and text[-1] == "]"


def entries_of(text: str) -> list[str] | None:
    """The entries of a list of texts or numbers; None where the text is no list.

    JSON, what Python and pandas write of a list, what numpy writes of an array: `["a", "b"]`, `['a', 'b']`, `['a' 'b']`, and
    bare words (`[a, b]`, `[1 2]`), between which stand commas or blanks, one of both throughout. An array that was cut short
    (`[1 2 ... 9]`) is none.
    """
    within = text[1:-1].strip()
    if not is_bracketed(text) or not WITHIN.fullmatch(within):
        return None
    try:
        return [_unquoted(entry) for entry in ENTRIES.findall(within)]
    except (ValueError, SyntaxError):
        return None


def _unquoted(entry: str) -> str:
    """An entry without its quotes. Raises `ValueError` or `SyntaxError` for an escape that stands for no character."""
    if entry[0] not in "'\"":
        return entry
    if "\\" not in entry:
        return entry[1:-1]
    try:
        found = parse_json(entry)
    except ValueError:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = ast.literal_eval(entry)
    return str(found).encode().decode()  # refuses half a pair of surrogates, which is no UTF-8
