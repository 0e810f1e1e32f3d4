"""What `sparcode-es query` tells on stderr when an answer is not what was asked for: options that did nothing, an empty page."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from sparcode_es_cli.engine_options import AnyEngine, lookup_of
from sparcode_es_cli.words import counted

from sparcode_es.engines.base import Query
from sparcode_es.engines.conditions import ITEM, AnyOf, Between, NoneOf, holds, said
from sparcode_es.errors import SparcodeError

if TYPE_CHECKING:
    from sparcode_es.engines.lookup import Lookup
    from sparcode_es.serving.ask import Ask
    from sparcode_es.serving.results import Recommendations

LISTED = 10
"""Attributes, or items, that are named."""


def notes(engine: AnyEngine, answer: Recommendations, ask: Ask) -> list[str]:
    """One sentence each. The index is asked only about what the answer itself does not show to be there."""
    found = [f"popular items: {answer.reason}"] if answer.source == "popular" else []
    found += left_out(answer.unknown)
    try:
        doubts = [
            *_pins(engine, answer, ask),
            *_text(engine, answer, ask),
            *_attributes(lookup_of(engine), answer, ask),
        ]
    except SparcodeError:
        doubts = ["which of the attributes and values asked for there are could not be found out"]
    return [*found, *doubts, *_empty(answer, ask, bool(doubts))]


def left_out(items: Sequence[str]) -> Iterator[str]:
    """Which items of --history the model does not know."""
    if items:
        what = f"{counted(len(items), 'item')} that the model does not know"
        yield f"left out of --history: {what}: {_listed([*map(repr, items)])}"


def _listed(texts: Sequence[str]) -> str:
    return ", ".join(texts[:LISTED]) + (", …" if len(texts) > LISTED else "")


def _pins(engine: AnyEngine, answer: Recommendations, ask: Ask) -> Iterator[str]:
    shown = {item.id for item in answer}
    missing = [item for item in ask.pins.values() if item not in shown]
    known = engine.documents(missing) if missing else {}
    for item in missing:
        if item not in known:
            yield f"--pin: there is no item {item}"


def _text(engine: AnyEngine, answer: Recommendations, ask: Ask) -> Iterator[str]:
    """Words that are in no title. Popular items say by themselves that they know of no text."""
    if ask.text is None or answer.source == "popular":
        return
    if not engine.search(Query((), k=1, text=replace(ask.text, required=True), generation=answer.generation)):
        yield f"--text: no item has a word of {ask.text.words!r} in its title"


def _attributes(lookup: Lookup, answer: Recommendations, ask: Ask) -> Iterator[str]:
    """Names that no item has as an attribute, then values that no item has."""
    from sparcode_es.serving.arrange import MaxPer

    named = [each.field for each in (*_filters(ask), *ask.boosts)]
    named += [ask.diversify.field] if isinstance(ask.diversify, MaxPer) else []
    shown = {ITEM, *(name for item in answer for name in item.attributes)}
    doubtful = [name for name in dict.fromkeys(named) if name not in shown]
    there = lookup.attributes() if doubtful else []
    unknown = [name for name in doubtful if name not in there]
    for name in unknown:
        yield f"the items have no attribute {name}; {f'they have {_listed(there)}' if there else 'they have none at all'}"
    yield from _values(lookup, answer, ask, unknown)


def _values(lookup: Lookup, answer: Recommendations, ask: Ask, unknown: Sequence[str]) -> Iterator[str]:
    conditions: list[AnyOf | Between] = [] if answer.items else [c for c in _filters(ask) if not isinstance(c, NoneOf)]
    conditions += [c.opposite for c in _filters(ask) if isinstance(c, NoneOf)]
    for boost in ask.boosts:
        if not any(holds(boost.condition, item.id, item.attributes) for item in answer):
            conditions.append(boost.condition)
    for condition in dict.fromkeys(conditions):
        if condition.field not in unknown and not lookup.fits(condition):
            yield f"no item has {said(condition)}{_alike(lookup, condition)}"


def _alike(lookup: Lookup, condition: AnyOf | Between) -> str:
    """A value that is nearly the one asked for."""
    if isinstance(condition, Between) or len(condition.values) > 1 or condition.field == ITEM:
        return ""
    values = {each.text.casefold(): each.text for each in reversed(lookup.values(condition.field))}
    near = difflib.get_close_matches(condition.values[0].casefold(), values, n=1)
    return f"; did you mean {condition.field}={values[near[0]]}?" if near else ""


def _empty(answer: Recommendations, ask: Ask, explained: bool) -> Iterator[str]:
    if answer.items or explained:
        return
    if ask.page > 1:
        yield f"the list ends before page {ask.page}"
    elif ask.filter:
        whose = "popular" if answer.source == "popular" else "user's"
        yield f"none of the {whose} items fits {' and '.join(map(said, ask.filter))}"


def _filters(ask: Ask) -> list[AnyOf | NoneOf | Between]:
    return [each for each in ask.filter if isinstance(each, (AnyOf, NoneOf, Between))]
