"""What the sections of a page are made of: figures, tables, tiles, a section itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sparcode_es.postings.profile import ITEM, LEARNED
from sparcode_es.report.markup import Child, Html, element

KIND_COLOURS = {LEARNED: 0, ITEM: 1}
KIND_NAMES = {LEARNED: "learned codes", ITEM: "item codes"}


@dataclass(frozen=True)
class Section:
    """A part of the page that the table of contents leads to."""

    anchor: str
    title: str
    content: Sequence[Html | None]

    def drawn(self) -> Html:
        """The section as markup."""
        heading = element("h2", self.title, id=f"{self.anchor}-title")
        return element("section", heading, self.content, id=self.anchor, aria_labelledby=f"{self.anchor}-title")


def figure(
    title: str, picture: Html, caption: Child, legend: Mapping[str, int] | None = None, wide: bool = False
) -> Html:
    """A picture with a title, a legend (name → number of its colour; none for one name) and a caption."""
    entries = [
        element("li", element("span", class_=f"key k{colour}", aria_hidden="true"), name)
        for name, colour in (legend or {}).items()
    ]
    return element(
        "figure",
        element("h3", title),
        element("ul", entries, class_="legend") if len(entries) > 1 else None,
        element("div", picture, class_="picture"),
        element("figcaption", caption),
        class_="wide" if wide else None,
    )


def grid(*figures: Html | None) -> Html:
    """Figures side by side where there is room."""
    return element("div", figures, class_="grid")


def table(caption: str, headers: Sequence[str], rows: Sequence[Sequence[Child]], texts: Sequence[int] = (0,)) -> Html:
    """A table that scrolls by itself where the page is narrow. texts: the columns that are no numbers."""
    kinds = ["text" if column in texts else "number" for column in range(len(headers))]
    head = [element("th", name, scope="col", class_=kind) for name, kind in zip(headers, kinds, strict=True)]
    body = [
        element("tr", [element("td", cell, class_=kind) for cell, kind in zip(row, kinds, strict=True)]) for row in rows
    ]
    content = element(
        "table", element("caption", caption), element("thead", element("tr", head)), element("tbody", body)
    )
    return element("div", content, class_="scroll", tabindex=0, role="region", aria_label=caption)


def tiles(facts: Sequence[tuple[str, Child]]) -> Html:
    """Large numbers with what they are."""
    return element(
        "dl", [element("div", element("dt", name), element("dd", value)) for name, value in facts], class_="tiles"
    )


def facts_list(facts: Sequence[tuple[str, Child]]) -> Html:
    """Names and values, line by line; what is None is left out."""
    pairs = [[element("dt", name), element("dd", value)] for name, value in facts if value is not None]
    return element("dl", pairs, class_="facts")


def note(*content: Child) -> Html:
    """A paragraph."""
    return element("p", *content)


def code(text: str) -> Html:
    """A term, an id, a hash."""
    return element("code", text)


def chip(term: str, name: str, kind: str, more: str = "") -> Html:
    """A code by its name, coloured by kind."""
    return element(
        "span", name, element("small", more) if more else None, class_=f"chip k{KIND_COLOURS[kind]}", title=term
    )
