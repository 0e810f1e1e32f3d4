"""What a report asks of a place that holds postings: the answers of an Elasticsearch index."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from sparcode_es.codes import Clause
from sparcode_es.engines.base import Query
from sparcode_es.engines.elasticsearch.capabilities import capabilities
from sparcode_es.engines.elasticsearch.connection import Server
from sparcode_es.engines.elasticsearch.engine import ElasticsearchEngine
from sparcode_es.engines.elasticsearch.inspector import ElasticsearchInspector
from sparcode_es.engines.elasticsearch.layout import codes_name, path_of, read_meta, users_name
from sparcode_es.engines.elasticsearch.reading import each_document, msearch
from sparcode_es.engines.elasticsearch.segments import index_bytes
from sparcode_es.errors import EngineAuthError, EngineError
from sparcode_es.postings.principal import Rows
from sparcode_es.postings.profile import ITEM, LEARNED, CodeProfile
from sparcode_es.postings.survey import QUANTILES
from sparcode_es.report.facts import Place, possible_pairs
from sparcode_es.report.holding import TOP, Label, ScoreCounts, Tallies
from sparcode_es.serving.recommender import Recommender

ASKED = 200
"""Best items of a code that the map is made of: whole rows would be all that the index holds."""
FINENESS = 2000
"""Steps that the estimate of the scores is made in."""
PAGE = 10_000
"""Distinct counts of postings read at a time."""
FIELDS = ["code", "items", "users", "traffic", "scores"]


class IndexHolding:
    """See `sparcode_es.report.holding.Holding`. Raises `NotFoundError` without the alias, `EngineError` when it is not one of
    ours or its generation has no codes index."""

    exact = False

    def __init__(self, server: Server, name: str) -> None:
        self._server, self._name = server, name
        self._engine = ElasticsearchEngine(server, name)
        self.inspector = ElasticsearchInspector(self._engine)
        self._meta = read_meta(server, name)

    @functools.cached_property
    def _codes(self) -> dict[str, list[dict[str, Any]]]:
        """Kind → what `FIELDS` say of its codes, without kinds that have none."""
        found = {kind: list(self._read(kind)) for kind in (LEARNED, ITEM)}
        return {kind: rows for kind, rows in found.items() if rows}

    def _read(self, kind: str) -> Iterator[dict[str, Any]]:
        query = {"bool": {"filter": [{"term": {"kind": kind}}]}}
        for row in each_document(self._server, codes_name(self._name), "code", FIELDS, query):
            yield row["_source"]

    def recommender(self) -> Recommender:
        """See `Holding.recommender`."""
        return Recommender.for_engine(self._engine, fallback=False)

    def software(self) -> str:
        """See `Holding.software`. Without a version where the credentials may not ask: a reader needs no such right."""
        try:
            return f"Elasticsearch {'.'.join(map(str, capabilities(self._server).version))}"
        except (EngineAuthError, EngineError):
            return "Elasticsearch"

    def place(self) -> Place:
        """See `Holding.place`."""
        counts = {name: int(count) for name, count in self._meta["counts"].items()}
        pairs = possible_pairs(counts)
        learned = counts["postings"] - counts.get("item_code_postings", 0)
        return Place(
            engine="elasticsearch",
            where=self._server.where,
            generation=str(self._meta["generation"]),
            model_hash=str(self._meta["model_hash"]),
            codebook_hash=str(self._meta["codebook_hash"]),
            counts=counts,
            bias=self._meta.get("bias"),
            sparsity=1 - learned / pairs if pairs else None,
            bytes=self._bytes(),
            created_at=self._meta.get("created_at"),
            field_type=self._meta["field_type"],
        )

    def _bytes(self) -> int | None:
        """None where the credentials may not ask: a reader needs no such right."""
        try:
            return index_bytes(self._server, str(self._meta["generation"]))
        except EngineAuthError:
            return None

    def tallies(self) -> dict[str, Tallies]:
        """See `Holding.tallies`."""
        return {
            kind: Tallies(
                tuple(row["code"] for row in rows),
                np.array([row["items"] for row in rows], dtype=np.int64),
                np.array([row["users"] for row in rows], dtype=np.int64),
                np.array([row["traffic"] for row in rows], dtype=np.float64),
            )
            for kind, rows in self._codes.items()
        }

    def labels(self, terms: Sequence[str]) -> dict[str, Label]:
        """See `Holding.labels`."""
        return {term: _label(profile) for term, profile in self.inspector.codes(terms).items()}

    def scores(self) -> dict[str, ScoreCounts]:
        """See `Holding.scores`: each code's postings spread evenly between its quantiles."""
        found = {}
        for kind, rows in self._codes.items():
            filled = [row for row in rows if row.get("scores")]
            if filled:
                found[kind] = _mixture(filled)
        return found

    def documents(self) -> dict[int, int]:
        """See `Holding.documents`."""
        found: dict[int, int] = {}
        pages: dict[str, Any] = {"size": PAGE, "sources": [{"postings": {"terms": {"field": "postings"}}}]}
        while True:
            body = {"size": 0, "aggs": {"counts": {"composite": pages}}}
            answer = self._server.call("POST", path_of(self._name, "_search"), body)["aggregations"]["counts"]
            found |= {int(each["key"]["postings"]): int(each["doc_count"]) for each in answer["buckets"]}
            if len(answer["buckets"]) < PAGE:
                return found
            pages["after"] = answer["after_key"]

    def rows(self, terms: Sequence[str]) -> tuple[Rows, str]:
        """See `Holding.rows`: the best `ASKED` items of each code, by real queries."""
        answers = self.inspector.engine.search_many([Query((Clause(term, 1.0),), ASKED) for term in terms])
        numbers: dict[str, int] = {}
        found = [
            (
                np.array([numbers.setdefault(hit.item, len(numbers)) for hit in hits], dtype=np.int64),
                np.array([hit.score for hit in hits]),
            )
            for hits in answers
        ]
        return Rows(len(found), len(numbers), found.__getitem__), f"their best {ASKED} postings"

    def users(self, places: Sequence[int]) -> list[str]:
        """See `Holding.users`."""
        bodies = [{"from": place, "size": 1, "sort": [{"user": "asc"}], "_source": ["user"]} for place in places]
        answers = msearch(self._server, users_name(self._name), bodies)
        return [str(row["_source"]["user"]) for answer in answers for row in answer["hits"]["hits"]]


def _label(profile: CodeProfile) -> Label:
    return Label(profile.name, tuple(each.title or each.item for each in profile.top_items[:TOP]))


def _mixture(rows: Sequence[dict[str, Any]]) -> ScoreCounts:
    """The scores of some codes, each known by its number of postings and its quantiles."""
    shares = np.array(list(QUANTILES.values()))
    quantiles = np.array([[float(row["scores"][name]) for name in QUANTILES] for row in rows])
    if quantiles.min() == quantiles.max():
        return ScoreCounts(quantiles[:1, 0], np.array([float(sum(row["items"] for row in rows))]))
    edges = np.linspace(quantiles.min(), quantiles.max(), FINENESS + 1)
    counts = np.zeros(FINENESS)
    for row, own in zip(rows, quantiles, strict=True):
        reached = np.interp(edges, own, shares)
        # `interp` is 0 below a smallest score and 1 from a largest on; what lies on the lowest edge is in the first step.
        reached[0] = 0.0
        counts += row["items"] * np.diff(reached)
    return ScoreCounts((edges[:-1] + edges[1:]) / 2, counts)
