"""Requests to paste into Kibana's Dev Tools: what the engine asks of an alias, with one user's real codes, readable answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sparcode_es.engines.base import Query
from sparcode_es.engines.elasticsearch.engine import ElasticsearchEngine
from sparcode_es.engines.elasticsearch.layout import chronicle_name, codes_name, queries_name, users_name
from sparcode_es.engines.elasticsearch.request import clause, query_body
from sparcode_es.errors import NotFoundError
from sparcode_es.visible import visible

COUNT = 10
"""Hits that each asks for."""
BY_SCORE = [{"_score": "desc"}, {"item": "asc"}]
"""The engine's order: equal scores by item id."""


@dataclass(frozen=True)
class Snippet:
    """One search."""

    what: str
    index: str
    body: dict[str, Any]

    def text(self) -> str:
        """As the console takes it. Ids stand in the body alone, where JSON escapes what would read as something else."""
        return f"# {visible(self.what)}\nGET {self.index}/_search\n{json.dumps(self.body, indent=2)}\n"


def snippets(engine: ElasticsearchEngine, user: str, item: str | None = None, code: str | None = None) -> list[Snippet]:
    """The requests about a user, an item (None: the first that is recommended) and a code (None: the user's heaviest).

    Raises `NotFoundError` for a user whom the index does not know, or who has no codes.
    """
    clauses = engine.user(user).clauses
    if not clauses:
        raise NotFoundError(f"the user {user!r} has no codes in {users_name(engine.name)}; name another.")
    query = Query(clauses, k=COUNT)
    hits = engine.search(query) if item is None else []
    if item is None and not hits:
        raise NotFoundError(f"the codes of the user {user!r} lead to no item of {engine.name}; name another user.")
    heaviest = max(clauses, key=lambda each: each.boost).term
    return list(_about(engine, user, query, item if item is not None else hits[0].item, code or heaviest))


def _about(engine: ElasticsearchEngine, user: str, query: Query, item: str, code: str) -> Iterator[Snippet]:
    name, field_type = engine.name, str(engine.info().field_type)
    recommend = query_body(query, field_type)
    ranked = {"size": COUNT, "track_total_hits": False, "_source": ["item", "title"], "sort": BY_SCORE}
    latest = {"size": COUNT, "sort": [{"@timestamp": "desc"}]}
    yield Snippet(f"What the code {code} is", codes_name(name), {"query": {"ids": {"values": [code]}}})
    yield Snippet(
        f"The items that the code {code} scores highest", name, {**ranked, "query": clause(field_type, code, 1.0)}
    )
    codes = {"_source": ["codes", "model_hash"], "query": {"ids": {"values": [user]}}}
    yield Snippet(f"The codes of the user {user}", users_name(name), codes)
    yield Snippet(f"What the user {user} is recommended, seen items too", name, {**ranked, "query": recommend})
    why = {"bool": {"must": [recommend], "filter": [{"term": {"item": item}}]}}
    explained = {"explain": True, "_source": ["item", "title"], "query": why}
    yield Snippet(f"Why the user {user} is recommended the item {item}: each code's boost × score", name, explained)
    yield Snippet("The latest questions, where there is a query log", queries_name(name), latest)
    listed = {"size": COUNT, "sort": [{"begun": "desc"}]}
    yield Snippet("The generations, removed ones too", chronicle_name(name), listed)
