"""HTML from Python: what is not markup already is text, and escaped. Nothing else in a report makes markup of a string."""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import Union

from sparcode_es.visible import visible

EMPTY = frozenset({"meta"})
"""Elements that have no end tag."""


class Html(str):
    """Markup. Made by this module, and of constants, alone."""


Child = Union[str, int, None, Iterable["Child"]]  # noqa: UP007 (a name in quotes)
Value = str | float | None


def element(tag: str, *children: Child, **attributes: Value) -> Html:
    """`<tag …>children</tag>`. An attribute's `_` is `-`, but a last one is dropped (`class_`); one that is None is left out."""
    said = "".join(f' {_name(name)}="{_value(value)}"' for name, value in attributes.items() if value is not None)
    return Html(f"<{tag}{said}>" if tag in EMPTY else f"<{tag}{said}>{join(children)}</{tag}>")


def join(child: Child) -> Html:
    """Children one after the other: markup as it is, all else as text; None is nothing."""
    if child is None:
        return Html("")
    if isinstance(child, Html):
        return child
    if isinstance(child, (str, int)):
        return escaped(str(child))
    return Html("".join(join(each) for each in child))


def escaped(text: str) -> Html:
    """A text as markup; control and formatting characters are made visible."""
    return Html(html.escape(visible(text), quote=True))


def lines(text: str) -> Html:
    """A text of several lines as markup; line breaks and tabs stay."""
    return Html("\n".join(escaped(line) for line in text.replace("\t", "    ").split("\n")))


def _name(name: str) -> str:
    return name.removesuffix("_").replace("_", "-")


def _value(value: str | float) -> str:
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return escaped(str(value))
