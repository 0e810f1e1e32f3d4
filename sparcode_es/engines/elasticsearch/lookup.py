"""Finding things in an index."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sparcode_es.engines.base import ItemDocument
from sparcode_es.engines.conditions import Condition
from sparcode_es.engines.elasticsearch.engine import ElasticsearchEngine
from sparcode_es.engines.elasticsearch.layout import Indices, path_of
from sparcode_es.engines.elasticsearch.reading import code_names
from sparcode_es.engines.elasticsearch.request import condition_body
from sparcode_es.engines.lookup import CANDIDATES, MOST_VALUES, Value, in_order, typed_words


class ElasticsearchLookup:
    """See `sparcode_es.engines.lookup.Lookup`."""

    def __init__(self, engine: ElasticsearchEngine) -> None:
        self._engine, self._server, self._indices = engine, engine.server, engine.indices

    def users(self, beginning: str, count: int) -> list[str]:
        """See `Lookup.users`."""
        query = {"prefix": {"user": {"value": beginning}}} if beginning else {"match_all": {}}
        body = {"size": count, "query": query, "sort": [{"user": "asc"}], "_source": ["user"]}
        return [row["_source"]["user"] for row in self._search(self._indices.users, body)["hits"]["hits"]]

    def items(self, text: str, count: int) -> list[ItemDocument]:
        """See `Lookup.items`."""
        popular = self._server.run(self._engine.source.popular())
        if not text:
            return list(self._engine.documents(popular[:count]).values())
        body = {
            "size": CANDIDATES,
            "query": _typed(text),
            "sort": [{"_score": "desc"}, {"item": "asc"}],
            "_source": ["item", "title", "attributes"],
        }
        rows = [row["_source"] for row in self._search(self._indices.items, body)["hits"]["hits"]]
        found = [ItemDocument(row["item"], row.get("title"), row.get("attributes") or {}) for row in rows]
        return in_order(found, text, popular)[:count]

    def attributes(self) -> list[str]:
        """See `Lookup.attributes`."""
        (mapping,) = self._server.call("GET", path_of(self._indices.items, "_mapping")).values()
        fields = mapping["mappings"].get("properties", {}).get("attributes", {}).get("properties", {})
        return sorted(_names(fields), key=str.encode)

    def values(self, name: str) -> list[Value]:
        """See `Lookup.values`."""
        order = [{"_count": "desc"}, {"_key": "asc"}]
        terms = {"field": f"attributes.{name}", "size": MOST_VALUES, "order": order}
        body = {"size": 0, "aggs": {"values": {"terms": terms}}}
        buckets = self._search(self._indices.items, body)["aggregations"]["values"]["buckets"]
        return [Value(bucket["key"], bucket["doc_count"]) for bucket in buckets]

    def names(self, terms: Sequence[str], generation: str | None = None) -> dict[str, str]:
        """See `Lookup.names`: from the codes index beside the generation."""
        name = self._engine.name
        suffix = None if generation is None else generation.removeprefix(f"{name}-")
        codes = self._indices.codes if suffix is None else Indices.of(name, suffix).codes
        return code_names(self._server, codes, terms)

    def fits(self, condition: Condition) -> bool:
        """See `Lookup.fits`."""
        query = {"bool": {"filter": [condition_body(condition)]}}
        body = {"size": 1, "_source": False, "track_total_hits": False, "query": query}
        return bool(self._search(self._indices.items, body)["hits"]["hits"])

    def _search(self, index: str, body: dict[str, Any]) -> Any:
        return self._server.call("POST", path_of(index, "_search"), body)


def _typed(text: str) -> dict[str, Any]:
    """A query whose score counts whole words, on top of them the very id."""
    words = typed_words(text)
    begun = [{"bool": {"filter": [{"prefix": {"title": {"value": word}}} for word in words]}}] if words else []
    either = [*begun, {"prefix": {"item": {"value": text}}}]
    whole = [_constant({"term": {"title": {"value": word}}}, 1) for word in words]
    counted = [*whole, _constant({"term": {"item": {"value": text}}}, 100)]
    return {"bool": {"filter": [{"bool": {"should": either, "minimum_should_match": 1}}], "should": counted}}


def _constant(query: dict[str, Any], boost: int) -> dict[str, Any]:
    return {"constant_score": {"filter": query, "boost": boost}}


def _names(fields: dict[str, Any], before: str = "") -> list[str]:
    """The names of fields; a dot in a name makes an object of it."""
    found = []
    for name, field in fields.items():
        inner = field.get("properties")
        found += [f"{before}{name}"] if inner is None else _names(inner, f"{before}{name}.")
    return found
