"""Reading many documents: several searches in one request, and all documents in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sparcode_es.engines.elasticsearch.connection import Server, refuse_error
from sparcode_es.engines.elasticsearch.layout import path_of
from sparcode_es.engines.elasticsearch.request import msearch_body

PAGE = 5_000
TOGETHER = 32


def msearch(server: Server, index: str, bodies: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The answers of searches of one index, in order. Raises what a refused search is."""
    for start in range(0, len(bodies), TOGETHER):
        lines = msearch_body(({}, body) for body in bodies[start : start + TOGETHER])
        for part in server.call("POST", path_of(index, "_msearch"), lines)["responses"]:
            refuse_error(server.where, part)
            yield part


def each_document(
    server: Server, index: str, key: str, fields: list[str], query: dict[str, Any] | None = None
) -> Iterator[dict[str, Any]]:
    """All hits of a query (by default all documents) in order of `key`, a keyword field that is different in each of them."""
    body: dict[str, Any] = {"size": PAGE, "sort": [{key: "asc"}], "_source": fields, "track_scores": query is not None}
    if query is not None:
        body["query"] = query
    while True:
        rows = server.call("POST", path_of(index, "_search"), body)["hits"]["hits"]
        yield from rows
        if len(rows) < PAGE:
            return
        body["search_after"] = rows[-1]["sort"]


def code_names(server: Server, codes: str, terms: Sequence[str]) -> dict[str, str]:
    """Term → readable name of those codes that a codes index has: no more of their documents is sent."""
    ids = [term for term in dict.fromkeys(terms) if term]
    if not ids:
        return {}
    params = {"_source_includes": "name", "filter_path": "docs._id,docs.found,docs._source"}
    answer = server.call("POST", path_of(codes, "_mget"), {"ids": ids}, params=params)
    return {row["_id"]: str(row["_source"]["name"]) for row in answer["docs"] if row.get("found")}
