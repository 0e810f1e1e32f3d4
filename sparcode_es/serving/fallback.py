"""What is shown when the codes cannot answer: popular items, kept in memory from the last good answer, or an artifact's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from sparcode_es.engines.base import ItemDocument
from sparcode_es.engines.conditions import Dsl, holds, item_values
from sparcode_es.engines.embedded import EmbeddedEngine
from sparcode_es.engines.local_source import POPULAR
from sparcode_es.errors import NotFoundError
from sparcode_es.serving.arrange import MaxPer, at_most, pinned
from sparcode_es.serving.ask import Ask
from sparcode_es.serving.results import Item, Recommendations


@dataclass(frozen=True)
class Popular:
    """The items that most users have seen, most first, as of one generation."""

    generation: str | None = None
    items: tuple[ItemDocument, ...] = ()


def popular_of(engine: EmbeddedEngine) -> Popular:
    """The popular items of an engine's artifact."""
    documents = engine.documents(engine.artifact.popular(POPULAR))
    return Popular(engine.artifact.generation_hash, tuple(documents.values()))


def some_popular_of(engine: EmbeddedEngine) -> Popular:
    """The popular items of an engine's artifact. Raises `NotFoundError` when it has none."""
    popular = popular_of(engine)
    if not popular.items:
        raise NotFoundError(f"{engine.artifact.path} holds no items that users have seen")
    return popular


def popular_offline(engine: EmbeddedEngine, popular: Popular, ask: Ask, reason: str) -> Recommendations:
    """A page of popular items for a question that no server could be asked. engine: over the artifact that tells what the user
    has met, and which pinned items there are."""
    if ask.exclude_seen:
        seen = set(_seen(engine, ask)) - set(ask.pins.values())
        ask = replace(ask, exclude=ask.exclude | seen)
    return popular_page(popular, ask, reason, engine.documents(list(ask.pins.values())))


def _seen(engine: EmbeddedEngine, ask: Ask) -> tuple[str, ...]:
    """What the user has met, as far as the artifact knows."""
    if ask.user is None:
        return ask.history or ()
    known = engine.artifact.user_ids.find(ask.user) is not None
    return engine.user(ask.user).seen if known else ()


def popular_page(popular: Popular, ask: Ask, reason: str, known: Mapping[str, ItemDocument] | None) -> Recommendations:
    """A page of popular items, marked as such: filtered, without the excluded, at most n a value, pins at their places.

    A filter is never broken: where only Elasticsearch can tell what fits it, nothing but the pins is shown. known: the pinned
    items' documents; None when nobody could be asked, and pins are shown by their ids alone.
    """
    items = popular.items
    if (ask.text is not None and ask.text.required) or any(isinstance(each, Dsl) for each in ask.filter):
        items, reason = (), f"{reason}; which popular items fit the query, only Elasticsearch can tell"
    elif not items:
        reason = f"{reason}; no popular items are known yet"
    left_out = ask.exclude | set(ask.pins.values())
    fitting = [
        document
        for document in items
        if document.item not in left_out and all(holds(each, document.item, document.attributes) for each in ask.filter)
    ]
    if isinstance(ask.diversify, MaxPer):
        name, count = ask.diversify.field, ask.diversify.count
        fitting = at_most(fitting, lambda document: item_values(name, document.item, document.attributes), count)
    ranking = [_item(document) for document in fitting]
    by_id = {document.item: document for document in popular.items} | dict(known or {})
    pins = {
        place: _item(by_id.get(item, ItemDocument(item, None)), pinned=True)
        for place, item in ask.pins.items()
        if known is None or item in by_id
    }
    shown = pinned(ranking, pins, ask.length)[ask.length - ask.k :]
    return Recommendations(tuple(shown), "popular", reason, ask.page, ask.k, popular.generation)


def _item(document: ItemDocument, pinned: bool = False) -> Item:
    return Item(document.item, document.title, None, document.attributes, pinned)
