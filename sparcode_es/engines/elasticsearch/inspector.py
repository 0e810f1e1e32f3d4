"""Looking into an index: `sparcode_es.engines.inspector.Inspector`, from the codes index and from real queries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from sparcode_es.codes import Clause
from sparcode_es.engines.base import Contribution, Query
from sparcode_es.engines.elasticsearch.connection import Server
from sparcode_es.engines.elasticsearch.engine import ElasticsearchEngine
from sparcode_es.engines.elasticsearch.layout import (
    codes_name,
    generations,
    live_generation,
    path_of,
    require_codes,
    without_codes,
)
from sparcode_es.engines.elasticsearch.reading import code_names, each_document, msearch
from sparcode_es.engines.elasticsearch.request import clause, merged, shown_body
from sparcode_es.engines.inspector import FLOAT32, Dead, Group, Part, Reasons
from sparcode_es.errors import NotFoundError
from sparcode_es.postings.profile import ITEM, LEARNED, CodeProfile, document_digest

TOGETHER = 1000
"""Codes asked in one query; 7.17 takes 1024 clauses."""


class ElasticsearchInspector:
    """See `Inspector`. Raises `EngineError` when the generation has no codes index."""

    arithmetic = FLOAT32

    def __init__(self, engine: ElasticsearchEngine) -> None:
        self.engine, self._server, self._indices = engine, engine.server, engine.indices
        info = engine.info()
        self._field_type = str(info.field_type)
        self._require_codes(info.generation)

    def _require_codes(self, generation: str) -> None:
        """Raise `EngineError` unless the codes index of the same generation is what is asked."""
        name, suffix = self.engine.name, self.engine.suffix
        if suffix is not None:
            require_codes(self._server, name, suffix)
        elif f"{name}-{live_generation(self._server, codes_name(name))}" != generation:
            raise without_codes(self._server, generation)

    def codes(self, terms: Sequence[str]) -> dict[str, CodeProfile]:
        """See `Inspector.codes`."""
        ids = [term for term in dict.fromkeys(terms) if term]
        if not ids:
            return {}
        answer = self._server.call("POST", path_of(self._indices.codes, "_mget"), {"ids": ids})
        return {row["_id"]: CodeProfile.from_dict(row["_source"]) for row in answer["docs"] if row.get("found")}

    def names(self, terms: Sequence[str]) -> dict[str, str]:
        """See `Inspector.names`."""
        return code_names(self._server, self._indices.codes, terms)

    def busiest(self, count: int) -> list[CodeProfile]:
        """See `Inspector.busiest`."""
        order = [{"traffic": "desc"}, {"users": "desc"}, {"code": "asc"}]
        answer = self._search(self._indices.codes, {"size": count, "sort": order})
        return [CodeProfile.from_dict(row["_source"]) for row in answer["hits"]["hits"]]

    def item_postings(self, item: str) -> dict[str, float]:
        """See `Inspector.item_postings`. Every code is asked for: which of them hit the item, then with what score."""
        self._require(item)
        names = [row["_source"]["code"] for row in each_document(self._server, self._indices.codes, "code", ["code"])]
        bodies = [self._which_body(names[start : start + TOGETHER], item) for start in range(0, len(names), TOGETHER)]
        rows = [row for answer in self._msearch(bodies) for row in answer["hits"]["hits"]]
        terms = [term for row in rows for term in row.get("matched_queries", [])]
        pairs = []
        for start in range(0, len(terms), TOGETHER):
            asked = Query(tuple(Clause(term, 1.0) for term in terms[start : start + TOGETHER]))
            pairs += [(part.term, float(np.float32(part.score))) for part in self.engine.explain(asked, item)]
        return dict(sorted(pairs, key=lambda pair: (-pair[1], pair[0])))

    def _which_body(self, terms: Sequence[str], item: str) -> dict[str, Any]:
        """A search that names those of some codes that have a posting for the item."""
        should = [_named(clause(self._field_type, term, 1.0), term) for term in terms]
        query = {"bool": {"should": should, "minimum_should_match": 1, "filter": [{"term": {"item": item}}]}}
        return {"size": 1, "_source": False, "query": query}

    def _require(self, item: str) -> None:
        if item not in self.engine.documents([item]):
            raise NotFoundError(f"the index {self._indices.items} has no item {item!r}")

    def own_code(self, item: str) -> CodeProfile | None:
        """See `Inspector.own_code`."""
        body = {"size": 1, "query": {"term": {"item": item}}}
        rows = self._search(self._indices.codes, body)["hits"]["hits"]
        return CodeProfile.from_dict(rows[0]["_source"]) if rows else None

    def reasons(self, query: Query, item: str) -> Reasons:
        """See `Inspector.reasons`. The score is the server's; Lucene rounds each product to float32, and the sum."""
        clauses = tuple(Clause(term, boost) for term, boost in merged(query).items())
        plain = replace(query, clauses=clauses, exclude=frozenset(), filter=())
        found = self.engine.explain(plain, item)
        parts, total = self.added(found)
        score = self._score(plain, item) if parts else 0.0
        return Reasons(score, parts, total, self.arithmetic)

    def added(self, found: Sequence[Contribution]) -> tuple[tuple[Part, ...], float]:
        """See `Inspector.added`."""
        parts = tuple(Part(each, float(np.float32(each.boost) * np.float32(each.score))) for each in found)
        return parts, float(np.float32(sum(part.value for part in parts)))

    def _score(self, query: Query, item: str) -> float:
        body = {"bool": {"must": [self._query(query)], "filter": [{"term": {"item": item}}]}}
        rows = self._search(self._indices.items, {"size": 1, "_source": False, "query": body})["hits"]["hits"]
        return float(np.float32(rows[0]["_score"])) if rows else 0.0

    def _query(self, query: Query) -> dict[str, Any]:
        body: dict[str, Any] = shown_body(query, self._field_type)["query"]
        return body

    def ahead(self, query: Query, item: str, score: float) -> int:
        """See `Inspector.ahead`: those that score more, and those with a smaller id that score the same."""
        if not query.clauses:
            return 0
        more = float(np.nextafter(np.float32(score), np.float32(np.inf)))
        smaller = {"bool": {"must": [self._query(query)], "filter": [{"range": {"item": {"lt": item}}}]}}
        asked = [(self._query(query), more), (smaller, score), (smaller, more)]
        count = {"size": 0, "track_total_hits": True}
        answers = self._msearch([{**count, "query": each, "min_score": least} for each, least in asked])
        better, no_worse, better_smaller = (int(answer["hits"]["total"]["value"]) for answer in answers)
        return better + no_worse - better_smaller

    def passes(self, query: Query, item: str) -> bool:
        """See `Inspector.passes`."""
        body = {"bool": {"must": [self._query(query)], "filter": [{"term": {"item": item}}]}}
        return bool(self._search(self._indices.items, {"size": 1, "_source": False, "query": body})["hits"]["hits"])

    def dead(self, examples: int) -> Dead:
        """See `Inspector.dead`."""
        codes = self._indices.codes
        return Dead(
            codes_without_users={
                kind: self._group(codes, "code", examples, kind=kind, users=0) for kind in (LEARNED, ITEM)
            },
            codes_without_items={
                kind: self._group(codes, "code", examples, kind=kind, items=0) for kind in (LEARNED, ITEM)
            },
            items_without_postings=self._group(self._indices.items, "item", examples, postings=0),
        )

    def _group(self, index: str, field: str, examples: int, **terms: Any) -> Group:
        """The documents that hold some terms, counted, the first of them by a keyword field."""
        query = {"bool": {"filter": [{"term": {name: value}} for name, value in terms.items()]}}
        body = {
            "size": examples,
            "track_total_hits": True,
            "query": query,
            "sort": [{field: "asc"}],
            "_source": [field],
        }
        hits = self._search(index, body)["hits"]
        return Group(int(hits["total"]["value"]), tuple(row["_source"][field] for row in hits["hits"]))

    def _search(self, index: str, body: dict[str, Any]) -> Any:
        return self._server.call("POST", path_of(index, "_search"), body)

    def _msearch(self, bodies: Sequence[dict[str, Any]]) -> list[Any]:
        return list(msearch(self._server, self._indices.items, bodies))


def _named(body: dict[str, Any], name: str) -> dict[str, Any]:
    """A clause that says its name where it hits."""
    ((kind, inner),) = body.items()
    if kind == "rank_feature":
        return {kind: {**inner, "_name": name}}
    ((field, value),) = inner.items()
    return {kind: {field: {**value, "_name": name}}}


class GenerationContents:
    """See `sparcode_es.engines.inspector.Contents`. meta: what `layout.generations` says of the generation."""

    def __init__(self, server: Server, name: str, suffix: str, meta: dict[str, Any]) -> None:
        self._server, self._field_type = server, str(meta.get("field_type"))
        self.label, self._codes = f"{name}-{suffix}", f"{codes_name(name)}-{suffix}"
        self.model_hash, self.codebook_hash = str(meta.get("model_hash")), str(meta.get("codebook_hash"))

    def items(self) -> dict[str, str]:
        """See `Contents.items`."""
        rows = each_document(self._server, self.label, "item", ["item", "title", "attributes"])
        documents = (row["_source"] for row in rows)
        return {each["item"]: document_digest(each.get("title"), each.get("attributes") or {}) for each in documents}

    def codes(self) -> dict[str, tuple[int, str]]:
        """See `Contents.codes`."""
        rows = each_document(self._server, self._codes, "code", ["code", "items", "fingerprint"])
        documents = (row["_source"] for row in rows)
        return {each["code"]: (int(each["items"]), str(each["fingerprint"])) for each in documents}

    def row(self, term: str) -> Iterator[tuple[str, float]]:
        """See `Contents.row`."""
        query = clause(self._field_type, term, 1.0)
        for row in each_document(self._server, self.label, "item", ["item"], query):
            yield row["_source"]["item"], float(np.float32(row["_score"]))


def generation_contents(server: Server, name: str, wanted: str) -> GenerationContents:
    """A generation of the alias `name`, by its index, by its suffix or as `live`. Raises `NotFoundError`, and `EngineError`
    when it has no codes index."""
    suffix = wanted.removeprefix(f"{name}-")
    if wanted == "live":
        suffix = live_generation(server, name) or wanted
    known = generations(server, name)
    if suffix not in known:
        there = ", ".join(f"{name}-{each}" for each in known) or "none"
        raise NotFoundError(f"{server.where} has no generation {wanted!r} of {name}; there are: {there}")
    require_codes(server, name, suffix)
    return GenerationContents(server, name, suffix, known[suffix])
