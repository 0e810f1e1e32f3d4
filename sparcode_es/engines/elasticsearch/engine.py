"""The engine on Elasticsearch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import orjson

from sparcode_es.engines.base import Clause, Contribution, EngineInfo, Hit, ItemDocument, Query, UserEntry
from sparcode_es.engines.elasticsearch import request
from sparcode_es.engines.elasticsearch.connection import Server, api_error
from sparcode_es.engines.elasticsearch.layout import check_name, path_of, read_meta, users_name
from sparcode_es.errors import EngineError, NotFoundError

HITS = "hits.hits._score,hits.hits.fields,_shards.failures,timed_out"
CHUNK = 64


class ElasticsearchEngine:
    """Answers queries from the alias `name` (see `sparcode_es.engines.base.Engine`).

    Raises `NotFoundError` without the alias, `EngineError` when it is an index or not one of ours.
    """

    def __init__(self, server: Server, name: str) -> None:
        self._server, self._name = server, check_name(name)
        self._field_type = str(read_meta(server, name)["field_type"])

    def info(self) -> EngineInfo:
        """What the alias stands for now."""
        meta = read_meta(self._server, self._name)
        counts = meta["counts"]
        return EngineInfo(
            engine="elasticsearch",
            where=self._server.where,
            generation=meta["generation"],
            model_hash=meta["model_hash"],
            codebook_hash=meta["codebook_hash"],
            num_items=int(counts["items"]),
            num_users=int(counts["users"]),
            field_type=meta["field_type"],
        )

    def search(self, query: Query) -> list[Hit]:
        """See `Engine.search`."""
        return self._search(query, request.first_size(query)) if query.clauses else []

    def _search(self, query: Query, size: int) -> list[Hit]:
        while True:
            answer = self._server.call(
                "POST",
                path_of(self._name, "_search"),
                request.search_body(query, self._field_type, size),
                params={"filter_path": HITS, "preference": request.preference(query)},
            )
            hits, complete = self._cut(answer, query, size)
            if complete:
                return hits
            size = min(request.WINDOW, size * 4)

    def _cut(self, answer: Any, query: Query, size: int) -> tuple[list[Hit], bool]:
        """The k best of an answer, and whether a larger answer could not change them."""
        if answer.get("timed_out") or answer.get("_shards", {}).get("failures"):
            raise EngineError(f"{self._server.where} answered only in part: {answer.get('_shards')}")
        rows = answer.get("hits", {}).get("hits", [])
        hits = [Hit(row["fields"]["item"][0], float(row["_score"])) for row in rows]
        hits = [hit for hit in hits if hit.item not in query.exclude and hit.score > 0]
        hits.sort(key=lambda hit: (-hit.score, hit.item.encode()))
        if len(rows) < size or size >= request.WINDOW:
            return hits[: query.k], True
        # The fetched rows end inside a tie, or too many of them were excluded: look further.
        enough = len(hits) >= query.k and hits[query.k - 1].score > float(rows[-1]["_score"])
        return hits[: query.k], enough

    def search_many(self, queries: Sequence[Query]) -> list[list[Hit]]:
        """See `Engine.search_many`: `_msearch` in chunks; queries that end in a tie are asked again alone."""
        results: list[list[Hit]] = []
        for start in range(0, len(queries), CHUNK):
            results += self._search_chunk(queries[start : start + CHUNK])
        return results

    def _search_chunk(self, queries: Sequence[Query]) -> list[list[Hit]]:
        asked = [(query, request.first_size(query)) for query in queries if query.clauses]
        bodies = [
            ({"preference": request.preference(query)}, request.search_body(query, self._field_type, size))
            for query, size in asked
        ]
        found = []
        for (query, size), answer in zip(asked, self._msearch(bodies), strict=True):
            hits, complete = self._cut(answer, query, size)
            found.append(hits if complete else self._search(query, min(request.WINDOW, size * 4)))
        rest = iter(found)
        return [next(rest) if query.clauses else [] for query in queries]

    def _msearch(self, bodies: Sequence[tuple[dict[str, Any], dict[str, Any]]]) -> list[Any]:
        if not bodies:
            return []
        lines = b"".join(orjson.dumps(part) + b"\n" for pair in bodies for part in pair)
        paths = ",".join(f"responses.{path}" for path in HITS.split(","))
        params = {"filter_path": f"{paths},responses.status,responses.error"}
        answer = self._server.call("POST", path_of(self._name, "_msearch"), lines, params=params)
        for part in answer["responses"]:
            if "error" in part:
                raise api_error(self._server.where, int(part.get("status", 500)), part)
        return list(answer["responses"])

    def user(self, user_id: str) -> UserEntry:
        """See `Engine.user`: from the companion index."""
        document = self._get_many(users_name(self._name), [user_id], ["codes", "seen"]).get(user_id)
        if document is None:
            raise NotFoundError(
                f"the index {users_name(self._name)} has no user {user_id!r}; give --history with the items they know."
            )
        clauses = tuple(Clause(code["term"], float(code["boost"])) for code in document.get("codes", []))
        return UserEntry(clauses, tuple(document.get("seen", [])))

    def documents(self, items: Sequence[str]) -> dict[str, ItemDocument]:
        """See `Engine.documents`."""
        found = self._get_many(self._name, list(dict.fromkeys(items)), ["title", "attributes"])
        return {
            item: ItemDocument(item, source.get("title"), source.get("attributes", {}))
            for item, source in found.items()
        }

    def _get_many(self, index: str, ids: list[str], fields: list[str]) -> dict[str, dict[str, Any]]:
        ids = [each for each in ids if each]
        if not ids:
            return {}
        answer = self._server.call(
            "POST",
            path_of(index, "_mget"),
            {"ids": ids},
            params={"_source_includes": ",".join(fields), "filter_path": "docs._id,docs.found,docs._source,docs.error"},
        )
        for row in answer["docs"]:
            if "error" in row:
                raise api_error(self._server.where, 404 if "not_found" in str(row["error"]) else 400, row)
        return {row["_id"]: row.get("_source", {}) for row in answer["docs"] if row.get("found")}

    def explain(self, query: Query, item: str) -> list[Contribution]:
        """See `Engine.explain`: every clause is asked alone for the item, which works alike on every version."""
        if item not in self.documents([item]):
            raise NotFoundError(f"the index {self._name} has no item {item!r}")
        only = [{"term": {"item": item}}]
        bodies: list[tuple[dict[str, Any], dict[str, Any]]] = []
        for each in query.clauses:
            part = request.clause(self._field_type, each.term, 1.0)
            body = request.search_body(query, self._field_type, 1)
            bodies.append(({}, {**body, "query": {"bool": {"must": [part], "filter": only}}}))
        contributions = []
        for each, answer in zip(query.clauses, self._msearch(bodies), strict=True):
            for row in answer.get("hits", {}).get("hits", []):
                contributions.append(Contribution(each.term, each.boost, float(row["_score"])))
        return contributions

    def request(self, query: Query) -> str:
        """See `Engine.request`."""
        body = request.search_body(query, self._field_type, request.first_size(query))
        return f"GET {self._name}/_search?preference={request.preference(query)}\n{json.dumps(body, indent=2)}"

    def close(self) -> None:
        """Close the connections."""
        self._server.close()
