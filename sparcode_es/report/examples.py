"""Some users: what they met, their codes, what they are shown, and why."""

from __future__ import annotations

from collections.abc import Sequence

from sparcode_es.codes import is_item_term
from sparcode_es.engines.base import Contribution, Hit, ItemDocument, Query
from sparcode_es.engines.inspector import Inspector
from sparcode_es.inspection.views import UserView, user_view
from sparcode_es.postings.profile import ITEM, LEARNED
from sparcode_es.report.facts import Example, NamedItem, NamedShare, Recommended
from sparcode_es.report.holding import FARTHEST, Holding

LATEST = 8
"""Items of a history that are shown."""
SHOWN = 8
"""Items that are recommended."""
LOOKED_AT = 3
"""Users looked at for each that is wanted: some have no codes."""


def examples_of(holding: Holding, wanted: Sequence[str], count: int) -> tuple[Example, ...]:
    """The users `wanted`, or `count` that have codes, from all over the ids. Raises `NotFoundError` for one that is unknown."""
    if wanted:
        return tuple(_example(holding.inspector, user_view(holding.inspector, user, LATEST)) for user in wanted)
    found: list[Example] = []
    for user in _somebody(holding, count):
        view = user_view(holding.inspector, user, LATEST)
        if view.clauses:
            found.append(_example(holding.inspector, view))
        if len(found) >= count:
            break
    return tuple(found)


def _somebody(holding: Holding, count: int) -> list[str]:
    """Users at even distances in byte order of the ids: first those that are wanted, then others between them."""
    users = min(holding.inspector.engine.info().num_users, FARTHEST)
    places = [
        (i * LOOKED_AT + shift) * users // (LOOKED_AT * count) for shift in range(LOOKED_AT) for i in range(count)
    ]
    return holding.users(list(dict.fromkeys(places))) if users and count else []


def _example(inspector: Inspector, view: UserView) -> Example:
    query = Query(view.clauses, SHOWN, exclude=frozenset(view.history))
    hits = inspector.engine.search(query)
    shown = [hit.item for hit in hits]
    documents, parts = inspector.engine.documents(shown), inspector.engine.explain_many(query, shown)
    names = inspector.names([each.term for each in view.clauses])
    return Example(
        user=view.user,
        seen=view.seen,
        latest=tuple(NamedItem(each.item, each.title) for each in view.latest),
        codes=tuple(_named(each.term, names, view.shares[each.term]) for each in view.clauses),
        items=tuple(_recommended(hit, documents.get(hit.item), parts[hit.item], names) for hit in hits),
    )


def _recommended(
    hit: Hit, document: ItemDocument | None, parts: Sequence[Contribution], names: dict[str, str]
) -> Recommended:
    given = [_named(each.term, names, each.boost * each.score) for each in parts]
    reasons = tuple(sorted(given, key=lambda part: (-part.value, part.code)))
    return Recommended(hit.item, None if document is None else document.title, hit.score, reasons)


def _named(term: str, names: dict[str, str], value: float) -> NamedShare:
    return NamedShare(term, names.get(term, term), ITEM if is_item_term(term) else LEARNED, value)
