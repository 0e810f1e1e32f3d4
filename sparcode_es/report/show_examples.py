"""The section of examples: users, their latest items, codes, and what they are shown for which reasons."""

from __future__ import annotations

from collections.abc import Sequence

from sparcode_es.report.charts import stack
from sparcode_es.report.facts import Example, NamedItem, Recommended
from sparcode_es.report.markup import Html, element
from sparcode_es.report.numbers import decimal, percent, whole
from sparcode_es.report.parts import KIND_COLOURS, Section, chip, note

CODES = 12
"""Codes of a user that are shown."""
REASONS = 2
"""Reasons of an item that are written out; the bar has all."""


def examples_section(examples: Sequence[Example]) -> Section:
    """A card a user."""
    told = note(
        "Some users, with what they are shown after what they have met is left out. The bar is the score, a piece a code: ",
        element("span", "learned", class_="chip k0"),
        " codes and ",
        element("span", "after an item", class_="chip k1"),
        ", the codes of the latest items.",
    )
    return Section("examples", "Examples", [told, *(_card(example) for example in examples)])


def _card(example: Example) -> Html:
    met = f"{whole(example.seen)} items met" if example.seen != 1 else "1 item met"
    latest = element(
        "div",
        element("h4", f"Latest of {met}"),
        element("ol", [element("li", *_item(each)) for each in example.latest]),
    )
    chips = [chip(each.code, each.name, each.kind, f" {percent(each.value, 0)}") for each in example.codes[:CODES]]
    more = len(example.codes) - CODES
    codes = element(
        "div",
        element("h4", "Codes, by share"),
        element("p", chips, _more(more), class_="chips"),
    )
    best = max((each.score for each in example.items), default=0.0)
    items = element(
        "div",
        element("h4", "Recommended"),
        element("ol", [_recommended(each, best) for each in example.items], class_="items")
        if example.items
        else note("Nothing: no code of theirs has a posting for an item that they have not met."),
        class_="shown",
    )
    heading = element("h3", "User ", element("code", example.user))
    return element("article", heading, element("div", element("div", latest, codes), items, class_="card"))


def _more(count: int) -> Html | None:
    """How many are not written out."""
    return element("span", f"+ {count} more", class_="more") if count > 0 else None


def _item(item: NamedItem | Recommended) -> list[Html]:
    """Title and id, or the id alone."""
    if item.title is None:
        return [element("code", item.item)]
    return [element("span", item.title, class_="title"), element("code", item.item)]


def _recommended(item: Recommended, best: float) -> Html:
    pieces = [
        (each.value, KIND_COLOURS[each.kind], f"{each.name} ({each.code}): {decimal(each.value)}")
        for each in item.reasons
    ]
    because = [[chip(each.code, each.name, each.kind, f" {each.value:.2f}")] for each in item.reasons[:REASONS]]
    more = len(item.reasons) - REASONS
    return element(
        "li",
        element("p", *_item(item), element("b", f"{item.score:.2f}"), class_="head"),
        stack(pieces, best),
        element("p", because, _more(more), class_="chips"),
    )
