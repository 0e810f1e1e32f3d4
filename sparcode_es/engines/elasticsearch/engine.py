"""The engine on Elasticsearch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import orjson

from sparcode_es.codes import is_item_term
from sparcode_es.engines.base import Clause, Contribution, EngineInfo, Hit, ItemDocument, Query, UserEntry
from sparcode_es.engines.elasticsearch import request
from sparcode_es.engines.elasticsearch.connection import PASSING, Server, api_error
from sparcode_es.engines.elasticsearch.layout import check_name, path_of, read_meta, users_name
from sparcode_es.errors import EngineUnavailableError, NotFoundError

HITS = "hits.hits._score,hits.hits.fields,timed_out"
CHUNK = 32


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
        if not query.clauses:
            return []
        hits = self._hits(self._ask(query), query)
        return hits if hits is not None else self._search_ordered(query)

    def _search_ordered(self, query: Query) -> list[Hit]:
        """Search again where the fetched hits ended within a tie."""
        return self._hits(self._ask(query, ordered=True), query, ordered=True) or []

    def _ask(self, query: Query, ordered: bool = False) -> Any:
        return self._server.call(
            "POST",
            path_of(self._name, "_search"),
            request.search_body(query, self._field_type, ordered),
            params={"filter_path": HITS, **request.routing(query)},
        )

    def _hits(self, answer: Any, query: Query, ordered: bool = False) -> list[Hit] | None:
        """The k best of an answer; None when the fetched rows end within a tie that reaches into them."""
        if answer.get("timed_out"):
            raise EngineUnavailableError(
                f"{self._server.where} gave up the search of {self._name} after its time limit."
            )
        rows = answer.get("hits", {}).get("hits", [])
        hits = [Hit(row["fields"]["item"][0], float(row["_score"])) for row in rows]
        hits = [hit for hit in hits if hit.item not in query.exclude and hit.score > 0]
        hits.sort(key=lambda hit: (-hit.score, hit.item.encode()))
        if len(rows) == request.first_size(query) and not ordered:
            last = float(rows[-1]["_score"])
            if len(hits) < query.k or hits[query.k - 1].score <= last:
                return None
        return hits[: query.k]

    def search_many(self, queries: Sequence[Query]) -> list[list[Hit]]:
        """See `Engine.search_many`: `_msearch` in chunks."""
        results: list[list[Hit]] = []
        for start in range(0, len(queries), CHUNK):
            results += self._search_chunk(queries[start : start + CHUNK])
        return results

    def _search_chunk(self, queries: Sequence[Query]) -> list[list[Hit]]:
        asked = [query for query in queries if query.clauses]
        answers = self._msearch(
            [(request.routing(query), request.search_body(query, self._field_type)) for query in asked]
        )
        found = iter([self._of_many(answer, query) for query, answer in zip(asked, answers, strict=True)])
        return [next(found) if query.clauses else [] for query in queries]

    def _of_many(self, answer: Any, query: Query) -> list[Hit]:
        """One answer of several; asked again alone, with pauses, where the server was too busy for it."""
        if answer.get("status") in PASSING:
            return self.search(query)
        self._refuse_error(answer)
        hits = self._hits(answer, query)
        return hits if hits is not None else self._search_ordered(query)

    def _refuse_error(self, part: Any) -> None:
        if "error" in part:
            raise api_error(self._server.where, int(part.get("status", 500)), part)

    def _msearch(self, bodies: Sequence[tuple[dict[str, Any], dict[str, Any]]]) -> list[Any]:
        if not bodies:
            return []
        lines = b"".join(orjson.dumps(part) + b"\n" for pair in bodies for part in pair)
        paths = ",".join(f"responses.{path}" for path in HITS.split(","))
        params = {"filter_path": f"{paths},responses.status,responses.error"}
        answer = self._server.call("POST", path_of(self._name, "_msearch"), lines, params=params)
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

    def code_items(self, terms: Sequence[str]) -> dict[str, ItemDocument]:
        """See `Engine.code_items`."""
        wanted = [term for term in dict.fromkeys(terms) if is_item_term(term)]
        if not wanted:
            return {}
        body = {"size": len(wanted), "query": {"terms": {"code": wanted}}, "_source": ["code", "title", "attributes"]}
        answer = self._server.call("POST", path_of(self._name, "_search"), body)
        return {
            source["code"]: ItemDocument(row["_id"], source.get("title"), source.get("attributes", {}))
            for row in answer["hits"]["hits"]
            for source in [row["_source"]]
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
        bodies = [
            (request.routing(query), request.explain_body(query, self._field_type, each.term, item))
            for each in query.clauses
        ]
        contributions = []
        for each, answer in zip(query.clauses, self._msearch(bodies), strict=True):
            self._refuse_error(answer)
            for row in answer.get("hits", {}).get("hits", []):
                contributions.append(Contribution(each.term, each.boost, float(row["_score"])))
        return contributions

    def request(self, query: Query) -> str:
        """See `Engine.request`."""
        body = request.shown_body(query, self._field_type)
        preference = request.routing(query)["preference"]
        return f"GET {self._name}/_search?preference={preference}\n{json.dumps(body, indent=2)}"

    def close(self) -> None:
        """Close the connections."""
        self._server.close()
