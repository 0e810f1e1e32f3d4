"""What the page shows, as JSON documents: an answer with its reasons, why or why not an item, a code."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from sparcode_es.codes import is_item_term
from sparcode_es.engines.base import Clause, Contribution, ItemDocument, Query
from sparcode_es.engines.conditions import said, weight_of
from sparcode_es.engines.elasticsearch.request import merged
from sparcode_es.engines.inspector import Inspector, Part
from sparcode_es.errors import NotFoundError
from sparcode_es.inspection.views import code_view
from sparcode_es.inspection.why import why_not
from sparcode_es.postings.profile import ITEM, LEARNED
from sparcode_es.serving.ask import Ask
from sparcode_es.serving.results import Item, Reason, Recommendations
from sparcode_es.ui.places import Place

LATEST = 50
"""Items of a history that are shown."""


def answer(place: Place, ask: Ask) -> dict[str, Any]:
    """A page of items with what each code gave them, the codes, and the history."""
    begin = time.perf_counter()
    found = place.recommender.recommend_many([replace(ask, explain=True)])[0]
    milliseconds = 1000 * (time.perf_counter() - begin)
    clauses = [] if found.query is None else _heaviest(found.query)
    names = place.inspector.names([clause.term for clause in clauses])
    latest = list(reversed(found.seen[-LATEST:]))
    documents = place.inspector.engine.documents(latest)
    return {
        "place": place.key,
        "generation": found.generation,
        "source": found.source,
        "reason": found.reason,
        "milliseconds": milliseconds,
        "arithmetic": place.inspector.arithmetic,
        "items": [_item(place.inspector, found, item) for item in found],
        "codes": _codes(clauses, names),
        "seen": len(found.seen),
        "history": [document_json(documents.get(item, ItemDocument(item, None))) for item in latest],
    }


def why(place: Place, ask: Ask, item: str) -> dict[str, Any]:
    """Why an item has its score and place, and all that keeps it from the first k. Raises `NotFoundError`."""
    found = place.recommender.recommend_many([replace(ask, k=1, page=1)])[0]
    if found.query is None:
        raise NotFoundError(f"there are no codes to ask why: {found.reason}")
    query = replace(found.query, k=ask.length)
    told = why_not(place.inspector, query, item, found.seen, [said(each) for each in query.filter])
    parts = () if told.reasons is None else told.reasons.parts
    document = told.document or ItemDocument(item, None)
    return {
        **{name: getattr(told, name) for name in ("score", "needed", "rank", "k", "seen", "recommended", "verdict")},
        "item": document_json(document),
        "known": told.document is not None,
        "parts": [{**_part(part), "name": told.names.get(part.contribution.term)} for part in parts],
        "total": 0.0 if told.reasons is None else told.reasons.total,
        "weight": weight_of(query.boosts, item, document.attributes),
        "arithmetic": place.inspector.arithmetic,
        "without": [{**asdict(each), "name": told.names.get(each.term)} for each in told.without_posting],
    }


def code(place: Place, term: str) -> dict[str, Any]:
    """What a code stands for. Raises `NotFoundError`."""
    found = code_view(place.inspector, term)
    near = [{**asdict(each), "name": found.neighbour_names.get(each.code)} for each in found.profile.neighbours]
    return {**found.profile.as_dict(), "neighbours": near}


def document_json(document: ItemDocument) -> dict[str, Any]:
    """An item without a score."""
    return {"id": document.item, "title": document.title, "attributes": dict(document.attributes)}


def _heaviest(query: Query) -> list[Clause]:
    """Its codes, repeated ones as one, the largest boosts first."""
    return sorted((Clause(*pair) for pair in merged(query).items()), key=lambda each: (-each.boost, each.term))


def _codes(clauses: Sequence[Clause], names: Mapping[str, str]) -> list[dict[str, Any]]:
    total = sum(each.boost for each in clauses) or 1.0
    found = []
    for each in clauses:
        found.append(
            {
                "term": each.term,
                "name": names.get(each.term, each.term),
                "kind": ITEM if is_item_term(each.term) else LEARNED,
                "boost": each.boost,
                "share": each.boost / total,
            }
        )
    return found


def _item(inspector: Inspector, found: Recommendations, item: Item) -> dict[str, Any]:
    parts, total = inspector.added([_contribution(reason) for reason in item.reasons or ()])
    boosts = () if found.query is None else found.query.boosts
    return {
        "id": item.id,
        "title": item.title,
        "attributes": dict(item.attributes),
        "score": item.score,
        "parts": [_part(part) for part in parts],
        "total": total,
        "weight": weight_of(boosts, item.id, item.attributes),
    }


def _contribution(reason: Reason) -> Contribution:
    return Contribution(reason.term, reason.boost, reason.score)


def _part(part: Part) -> dict[str, Any]:
    return {**asdict(part.contribution), "value": part.value}
