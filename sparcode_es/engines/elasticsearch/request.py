"""Queries as Elasticsearch takes them."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import orjson

from sparcode_es.engines.base import Query
from sparcode_es.engines.conditions import ITEM, AnyOf, Condition, Dsl, NoneOf
from sparcode_es.engines.elasticsearch.connection import RefusedError
from sparcode_es.errors import ConfigError, EngineError

WINDOW = 10_000
"""Elasticsearch's default `index.max_result_window`."""
MOST_TERMS = 65_536
"""Elasticsearch's default `index.max_terms_count`."""
SPARE = 8
"""Hits fetched beyond k, so that equal scores at the cut are seen."""
DROP_LIMIT = 150
"""Excluded items up to this many are dropped by the client; more go into the query as a filter.

On 50,000 items the two cost the same between 50 and 200 excluded items; at 2,000 the filter takes half the time.
"""


def clause(field_type: str, term: str, boost: float) -> dict[str, Any]:
    """boost × score of one code. `linear`: without it `rank_feature` applies saturation, which is not Eq. 11."""
    if field_type == "rank_features":
        return {"rank_feature": {"field": f"codes.{term}", "linear": {}, "boost": boost}}
    # The query `sparse_vector`, unpruned, gives the same scores in the same time, but only newer servers have it.
    return {"term": {"codes": {"value": term, "boost": boost}}}


def merged(query: Query) -> dict[str, float]:
    """Term → boost, repeated terms added up."""
    boosts: dict[str, float] = {}
    for each in query.clauses:
        boosts[each.term] = boosts.get(each.term, 0.0) + each.boost
    return boosts


def field_of(name: str, numeric: bool = False) -> str:
    """Where the texts of an attribute lie in an item's document, or its numbers."""
    return "item" if name == ITEM else f"{'numbers' if numeric else 'attributes'}.{name}"


def condition_body(condition: Condition) -> dict[str, Any]:
    """A condition as a query that stands in a filter."""
    if isinstance(condition, Dsl):
        return dict(condition.query)
    if isinstance(condition, AnyOf):
        parts = _terms(field_of(condition.field), condition.spellings)
        return parts[0] if len(parts) == 1 else {"bool": {"should": parts}}
    if isinstance(condition, NoneOf):
        return {"bool": {"must_not": [condition_body(condition.opposite)]}}
    return {"range": {field_of(condition.field, condition.numeric): condition.bounds()}}


def _terms(field: str, values: Sequence[str]) -> list[dict[str, Any]]:
    """Queries that together find what holds any of the values."""
    if len(values) == 1:
        return [{"term": {field: values[0]}}]
    starts = range(0, len(values), MOST_TERMS)
    return [{"terms": {field: list(values[start : start + MOST_TERMS])}} for start in starts]


def query_body(query: Query, field_type: str) -> dict[str, Any]:
    """The `query` part: Eq. 11 as a bool of boosted clauses, with text, filters and boosts around it."""
    body: dict[str, Any] = {
        "should": [clause(field_type, term, boost) for term, boost in merged(query).items()],
        "minimum_should_match": 1,
    }
    if query.text is not None:
        body = _with_text(body, query)
    if query.filter:
        body["filter"] = [condition_body(each) for each in query.filter]
    if not _dropped_here(query):
        body["must_not"] = _must_not(query)
    return _boosted({"bool": body}, query)


def _with_text(codes: dict[str, Any], query: Query) -> dict[str, Any]:
    """codes_weight × Σ boost × posting + weight × BM25(title), each on its own scale."""
    assert query.text is not None
    titles = {"match": {"title": {"query": query.text.words, "boost": query.text.weight}}}
    summed = {"bool": {**codes, "boost": query.text.codes_weight}}
    if query.text.required:
        return {"must": [titles], "should": [summed]}
    return {"should": [summed, titles], "minimum_should_match": 1}


def _boosted(body: dict[str, Any], query: Query) -> dict[str, Any]:
    """The score times the weight of each boost that the item has; times 1 where it has none."""
    if not query.boosts:
        return body
    functions = [{"filter": condition_body(b.condition), "weight": b.weight} for b in query.boosts]
    scored = {"query": body, "functions": functions, "score_mode": "multiply", "boost_mode": "multiply"}
    return {"function_score": scored}


def _must_not(query: Query) -> list[dict[str, Any]]:
    return _terms("item", sorted(query.exclude))


def _dropped_here(query: Query) -> bool:
    """Whether the excluded items are dropped from the answer rather than by the server."""
    return len(query.exclude) <= min(DROP_LIMIT, WINDOW - SPARE - query.k)


def first_size(query: Query) -> int:
    """How many hits to fetch so that k are left when every excluded item was among them."""
    if query.k > WINDOW:
        raise EngineError(f"Elasticsearch returns at most {WINDOW} hits, not {query.k}; ask for a smaller k.")
    return min(WINDOW, query.k + SPARE + (len(query.exclude) if _dropped_here(query) else 0))


def search_body(query: Query, field_type: str, ordered: bool = False) -> dict[str, Any]:
    """A whole search. Only the item's doc values are fetched: decompressing `_id` costs more than the scoring.

    ordered: let the server put equal scores in the order of the item ids' bytes. Slower, and only needed when more
    items tie at the cut than were fetched.
    """
    body: dict[str, Any] = {
        "size": first_size(query),
        "track_total_hits": False,
        "_source": False,
        "stored_fields": "_none_",
        "docvalue_fields": ["item"],
        "query": query_body(query, field_type),
    }
    if ordered:
        body["sort"] = [{"_score": "desc"}, {"item": "asc"}]
        body["track_scores"] = True
    return body


def shown_body(query: Query, field_type: str) -> dict[str, Any]:
    """A search that answers a person who pastes it as the engine does: k hits, equal scores by item id, and exclusions in the
    query, where the engine fetches a few hits more and does the rest itself."""
    body = search_body(query, field_type, ordered=True)
    body["size"] = query.k
    if query.exclude:
        inner = body["query"]["function_score"]["query"] if query.boosts else body["query"]
        inner["bool"]["must_not"] = _must_not(query)
    return body


def explain_body(field_type: str, term: str, items: Sequence[str]) -> dict[str, Any]:
    """A search that scores some items by one code, boost 1."""
    wanted = [{"terms": {"item": list(items)}}]
    scored = {"bool": {"must": [clause(field_type, term, 1.0)], "filter": wanted}}
    fetched = {"_source": False, "stored_fields": "_none_", "docvalue_fields": ["item"]}
    return {"size": len(items), "track_total_hits": False, **fetched, "query": scored}


def msearch_body(searches: Iterable[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> bytes:
    """Several searches in one request, each a header ({} for the index of the path) and a body: newline-delimited JSON."""
    return b"".join(orjson.dumps(part) + b"\n" for pair in searches for part in pair)


@contextlib.contextmanager
def callers_own(queries: Sequence[Query]) -> Iterator[None]:
    """What a server refuses of a query that its caller wrote in Elasticsearch's own language, they must change: it becomes a
    `ConfigError`."""
    try:
        yield
    except RefusedError as error:
        if not any(isinstance(each, Dsl) for query in queries for each in query.filter):
            raise
        raise ConfigError(f"{error}; look at the `Dsl` in the filter") from error


def routing(query: Query, anywhere: bool = False) -> dict[str, Any]:
    """Which copies answer: the same ones for the same codes, or `anywhere`; and all shards or none."""
    whole = {"allow_partial_search_results": False}
    if anywhere:
        return whole
    text = " ".join(each.term for each in query.clauses)
    return {"preference": f"sparcode{zlib.crc32(text.encode()):08x}", **whole}
