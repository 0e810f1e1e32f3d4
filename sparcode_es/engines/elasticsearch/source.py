"""What to ask Elasticsearch and how to read its answers; who sends the requests is another's business.

Codes and items of one user come from one generation: a document of the users' companion index says which index it lies in, and
the items are asked of the index beside it, not of the alias, which may have moved in between.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from sparcode_es.codes import item_of_term, item_term
from sparcode_es.engines.base import Clause, Contribution, EngineInfo, Hit, ItemDocument, Query, UserEntry
from sparcode_es.engines.elasticsearch import request
from sparcode_es.engines.elasticsearch.connection import MALFORMED, PASSING, api_error, refuse_error, understood
from sparcode_es.engines.elasticsearch.layout import Indices, meta_plan, path_of, users_name
from sparcode_es.engines.plans import Call, Plan
from sparcode_es.errors import EngineError, EngineUnavailableError, SparcodeError

HITS = "hits.hits._score,hits.hits.fields,timed_out"
CHUNK = 256
"""Searches in one `_msearch`."""
LISTED = 4
"""Generations whose metadata are remembered."""
FRESH_SECONDS = 30.0
"""How long `info` believes them, since an update in place changes what a generation holds, though not its fields; and for how
long the alias is believed to stand for the same one."""


STATUSES = {"security_exception": 403, "illegal_argument_exception": 400, "parsing_exception": 400}
"""Of the rows of `_mget` that fail, by what they say: they have no status."""


def _status_of(error: Any) -> int:
    """The status of a row of `_mget`: no such index, one of `STATUSES`, or a shard that is away."""
    kind = str(error.get("type")) if isinstance(error, dict) else ""
    return 404 if "not_found" in kind else STATUSES.get(kind, 503)


class ElasticsearchSource:
    """Plans over the alias `name` of a server, or over one generation of it (see `sparcode_es.engines.base.Source`).

    Their errors: `NotFoundError` without the alias, `EngineError` when it is an index or not one of ours.
    """

    kind = "elasticsearch"

    def __init__(self, where: str, name: str, suffix: str | None = None) -> None:
        self.where, self.name, self.indices = where, name, Indices.of(name, suffix)
        self._only = None if suffix is None else self.indices.items
        self._metas: dict[str, tuple[float, dict[str, Any]]] = {}
        self._live = (-math.inf, "")
        """When the alias was asked for its generation, and which that was."""

    def meta(self, generation: str | None = None, age: float = math.inf) -> Plan[dict[str, Any]]:
        """A generation's metadata: of the live one asked anew, of a named one remembered for `age` seconds."""
        generation = generation or self._only
        if generation is not None and generation in self._metas:
            asked, known = self._metas[generation]
            if time.monotonic() - asked <= age:
                return known
        with understood(self.where):
            meta: dict[str, Any] = yield from meta_plan(self.where, self.name, generation)
            name = str(meta["generation"])
        latest = [pair for pair in self._metas.items() if pair[0] != name][1 - LISTED :]
        self._metas = {**dict(latest), name: (time.monotonic(), meta)}
        if generation is None:
            self._live = time.monotonic(), name
        return meta

    def info(self, generation: str | None = None) -> Plan[EngineInfo]:
        """See `Source.info`."""
        meta = yield from self.meta(generation, FRESH_SECONDS)
        with understood(self.where):
            counts = meta["counts"]
            return EngineInfo(
                engine="elasticsearch",
                where=self.where,
                generation=meta["generation"],
                model_hash=meta["model_hash"],
                codebook_hash=meta["codebook_hash"],
                num_items=int(counts.get("items", 0)),
                num_users=int(counts.get("users", 0)),
                field_type=meta["field_type"],
                artifact=meta["artifact"],
                splits_seen=tuple(map(str, meta.get("splits_seen", ()))),
            )

    def popular(self, generation: str | None = None) -> Plan[tuple[str, ...]]:
        """See `Source.popular`: `index` writes them into the metadata."""
        meta = yield from self.meta(generation)
        with understood(self.where):
            return tuple(str(item) for item in meta.get("popular", ()))

    def users(self, user_ids: Sequence[str]) -> Plan[dict[str, UserEntry]]:
        """See `Source.users`."""
        prefix = f"{users_name(self.name)}-"
        found = {}
        rows = yield from self._rows(self.indices.users, list(dict.fromkeys(user_ids)), ["codes", "seen"])
        with understood(self.where):
            for row in rows:
                source = row.get("_source", {})
                clauses = tuple(Clause(_text(code["term"]), _number(code["boost"])) for code in source.get("codes", []))
                generation = f"{self.name}-{row['_index'].removeprefix(prefix)}" if "_index" in row else None
                found[row["_id"]] = UserEntry(clauses, tuple(map(_text, source.get("seen", []))), generation)
        return found

    def documents(self, items: Sequence[str], generation: str | None = None) -> Plan[dict[str, ItemDocument]]:
        """See `Source.documents`."""
        rows = yield from self._rows(
            generation or self.indices.items, list(dict.fromkeys(items)), ["title", "attributes"]
        )
        with understood(self.where):
            return {row["_id"]: _document(row["_id"], row.get("_source", {})) for row in rows}

    def _rows(self, index: str, ids: list[str], fields: list[str]) -> Plan[list[dict[str, Any]]]:
        """The documents that there are of some ids."""
        ids = [each for each in ids if each]
        if not ids:
            return []
        paths = "docs._index,docs._id,docs.found,docs._source,docs.error"
        params = {"_source_includes": ",".join(fields), "filter_path": paths}
        answer = yield Call("POST", path_of(index, "_mget"), {"ids": ids}, params)
        with understood(self.where):
            for row in self._part(answer, "docs"):
                if "error" in row:
                    raise api_error(self.where, _status_of(row["error"]), row)
            return [row for row in answer["docs"] if row.get("found")]

    def code_items(self, terms: Sequence[str], generation: str | None = None) -> Plan[dict[str, ItemDocument]]:
        """See `Source.code_items`."""
        wanted: dict[str, list[str]] = {}
        for term in dict.fromkeys(terms):
            if (item := item_of_term(term)) is not None:
                wanted.setdefault(item_term(item), []).append(term)
        if not wanted:
            return {}
        body = {
            "size": len(wanted),
            "query": {"terms": {"code": list(wanted)}},
            "_source": ["code", "title", "attributes"],
        }
        answer = yield Call("POST", path_of(generation or self.indices.items, "_search"), body)
        with understood(self.where):
            rows = self._part(self._part(answer, "hits", dict), "hits")
            found = [(row["_source"]["code"], _document(row["_id"], row["_source"])) for row in rows]
            return {term: document for code, document in found for term in wanted[code]}

    def search_many(self, queries: Sequence[Query]) -> Plan[list[list[Hit] | SparcodeError]]:
        """See `Source.search_many`: one `_search`, or `_msearch` in chunks."""
        asked = [query for query in queries if query.clauses or query.text]
        types: dict[str | None, str] = {}
        for generation in dict.fromkeys(query.generation for query in asked):
            types[generation] = yield from self._field_type(generation)
        answers: list[list[Hit] | SparcodeError] = []
        for start in range(0, len(asked), CHUNK):
            answers += yield from self._chunk(asked[start : start + CHUNK], types)
        found = iter(answers)
        return [next(found) if query.clauses or query.text else [] for query in queries]

    def _field_type(self, generation: str | None) -> Plan[str]:
        """The type of the codes' field."""
        if generation is None and time.monotonic() - self._live[0] <= FRESH_SECONDS:
            generation = self._live[1]
        meta = yield from self.meta(generation)
        with understood(self.where):
            return str(meta["field_type"])

    def _chunk(self, queries: Sequence[Query], types: dict[str | None, str]) -> Plan[list[list[Hit] | SparcodeError]]:
        if len(queries) == 1:
            return [(yield from self._alone(queries[0], types[queries[0].generation]))]
        bodies = [request.search_body(query, types[query.generation]) for query in queries]
        with request.callers_own(queries):
            answers = yield from self._msearch(self.indices.items, queries, bodies)
        found: list[list[Hit] | SparcodeError] = []
        for query, answer in zip(queries, answers, strict=True):
            found.append((yield from self._of_many(answer, query, types[query.generation])))
        return found

    def _header(self, query: Query, anywhere: bool) -> dict[str, Any]:
        named = {} if query.generation is None else {"index": query.generation}
        return {**request.routing(query, anywhere), **named}

    def _alone(self, query: Query, field_type: str) -> Plan[list[Hit]]:
        with request.callers_own([query]):
            answer = yield self._search(query, field_type)
        hits = self._hits(answer, query)
        return hits if hits is not None else (yield from self._ordered(query, field_type))

    def _ordered(self, query: Query, field_type: str) -> Plan[list[Hit]]:
        """Search again where the fetched hits ended within a tie."""
        return self._hits((yield self._search(query, field_type, ordered=True)), query, ordered=True) or []

    def _search(self, query: Query, field_type: str, ordered: bool = False) -> Call:
        """A copy that hangs would hang again: further attempts ask any."""
        path = path_of(query.generation or self.indices.items, "_search")
        body = request.search_body(query, field_type, ordered)

        def call(anywhere: bool) -> Call:
            params = {"filter_path": HITS, **request.routing(query, anywhere)}
            return Call("POST", path, body, params, again=None if anywhere else lambda: call(True))

        return call(False)

    def _of_many(self, answer: Any, query: Query, field_type: str) -> Plan[list[Hit] | SparcodeError]:
        """One answer of several; asked again alone, with pauses, where the server was too busy for it."""
        try:
            if answer.get("status") in PASSING:
                return (yield from self._alone(query, field_type))
            with request.callers_own([query]):
                refuse_error(self.where, answer)
            hits = self._hits(answer, query)
            return hits if hits is not None else (yield from self._ordered(query, field_type))
        except SparcodeError as error:
            return error

    def _hits(self, answer: Any, query: Query, ordered: bool = False) -> list[Hit] | None:
        """The k best of an answer; None when the fetched rows end within a tie that reaches into them."""
        if not isinstance(answer, dict):
            raise EngineError(f"{self.where} answered a search with something else; is it Elasticsearch?")
        if answer.get("timed_out"):
            raise EngineUnavailableError(f"{self.where} gave up the search of {self.name} after its time limit.")
        try:
            rows = answer.get("hits", {}).get("hits", [])
            hits = [Hit(_text(row["fields"]["item"][0]), _number(row["_score"])) for row in rows]
        except MALFORMED as error:
            raise EngineError(f"{self.where} answered a search with hits of another kind ({error!r}).") from error
        hits = [hit for hit in hits if hit.item not in query.exclude and hit.score > 0]
        hits.sort(key=lambda hit: (-hit.score, hit.item.encode()))
        if len(rows) == request.first_size(query) and not ordered:
            last = float(rows[-1]["_score"])
            if len(hits) < query.k or hits[query.k - 1].score <= last:
                return None
        return hits[: query.k]

    def contributions(self, query: Query, items: Sequence[str]) -> Plan[dict[str, list[Contribution]]]:
        """See `Source.contributions`: every clause is asked alone for the items, which works alike on every version."""
        found: dict[str, list[Contribution]] = {item: [] for item in items}
        if not items or not query.clauses:
            return found
        field_type = yield from self._field_type(query.generation)
        names = list(found)
        bodies = [request.explain_body(field_type, each.term, names) for each in query.clauses]
        answers = yield from self._msearch(self.indices.items, [query] * len(bodies), bodies)
        with understood(self.where):
            for each, answer in zip(query.clauses, answers, strict=True):
                refuse_error(self.where, answer)
                for item, score in self._scores(answer):
                    found[item].append(Contribution(each.term, each.boost, score))
        return found

    def _scores(self, answer: Any) -> Iterator[tuple[str, float]]:
        """Item, score. Elasticsearch writes a float32 with as few digits as tell it from its neighbours: read as such, it is
        the posting's score on the grid again."""
        for row in answer.get("hits", {}).get("hits", []):
            yield row["fields"]["item"][0], float(np.float32(_number(row["_score"])))

    def _msearch(self, index: str, queries: Sequence[Query], bodies: Sequence[dict[str, Any]]) -> Plan[list[Any]]:
        """The answers of one search a query; as in `_search`, further attempts ask any copy."""
        if not bodies:
            return []
        paths = ",".join(f"responses.{path}" for path in HITS.split(","))
        params = {"filter_path": f"{paths},responses.status,responses.error"}

        def call(anywhere: bool) -> Call:
            headers = [self._header(query, anywhere) for query in queries]
            lines = request.msearch_body(zip(headers, bodies, strict=True))
            path = path_of(index, "_msearch")
            return Call("POST", path, lines, params, again=None if anywhere else lambda: call(True))

        answer = yield call(False)
        parts: list[Any] = self._part(answer, "responses")
        if len(parts) != len(bodies) or not all(isinstance(part, dict) for part in parts):
            raise EngineError(f"{self.where} answered {len(parts)} of {len(bodies)} searches; is it Elasticsearch?")
        return parts

    def _part(self, answer: Any, name: str, kind: type = list) -> Any:
        """A part of an answer. Raises `EngineError` where it is missing or of another kind."""
        part = answer.get(name) if isinstance(answer, dict) else None
        if not isinstance(part, kind):
            raise EngineError(f"{self.where} answered without `{name}`; is it Elasticsearch?")
        return part


def _text(value: Any) -> str:
    """A text of an answer. Raises `TypeError` for anything else, and `ValueError` for what no request can hold again."""
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    value.encode()
    return value


def _number(value: Any) -> float:
    """A number of an answer. Raises `ValueError` for what no request can hold again."""
    found = float(value)
    if not math.isfinite(found):
        raise ValueError(f"{value!r} is no number")
    return found


def _document(item: Any, source: Mapping[str, Any]) -> ItemDocument:
    title, attributes = source.get("title"), source.get("attributes", {})
    if not isinstance(attributes, dict):
        raise TypeError(f"{attributes!r} are no attributes")
    return ItemDocument(_text(item), None if title is None else _text(title), attributes)
