"""Whether an index holds an artifact: counts, and scores of some postings and documents, as real queries answer them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import orjson

from sparcode_es.engines.base import Clause, Query
from sparcode_es.engines.elasticsearch import bulk
from sparcode_es.engines.elasticsearch.connection import Server
from sparcode_es.engines.elasticsearch.layout import path_of
from sparcode_es.engines.elasticsearch.request import clause, search_body
from sparcode_es.errors import VerificationError
from sparcode_es.postings.artifact import Artifact
from sparcode_es.postings.grid import from_grid

SAMPLES = 20
MOST_CODES = 256
"""Codes of an item that are asked for at once."""


def check(server: Server, artifact: Artifact, indices: Sequence[str], field_type: str, advice: str) -> None:
    """Raise `VerificationError`, with `advice` at its end, unless the indices of items, users and codes hold the artifact."""
    expected_counts = (artifact.num_items, artifact.num_users, artifact.num_codes)
    for index_name, expected in zip(indices, expected_counts, strict=True):
        count = server.call("GET", path_of(index_name, "_count"))["count"]
        if count != expected:
            raise VerificationError(f"{index_name} holds {count} documents, not {expected}; {advice}.")
    filled = np.flatnonzero(np.diff(artifact.code_offsets))
    for place in bulk.sample_rows(len(filled), SAMPLES):
        _check_code(server, artifact, indices[0], int(filled[place]), field_type, advice)


class Sample:
    """Some of `count` documents on their way, evenly spread."""

    def __init__(self, count: int) -> None:
        self._places = set(bulk.sample_rows(count, SAMPLES))
        self.kept: list[bulk.Document] = []

    def of(self, documents: Iterable[bulk.Document]) -> Iterator[bulk.Document]:
        """The documents, those of the sample kept."""
        for place, document in enumerate(documents):
            if place in self._places:
                self.kept.append(document)
            yield document


def check_documents(
    server: Server, items: str, field_type: str, documents: Sequence[bulk.Document], advice: str
) -> None:
    """Raise `VerificationError`, with `advice` at its end, unless the items index answers as these documents say."""
    for name, content in documents:
        source = orjson.loads(content)
        codes = dict(list(source.get("codes", {}).items())[:MOST_CODES])
        asked = [clause(field_type, term, 1.0) for term in codes]
        query = {"bool": {"filter": [{"term": {"item": name}}], "should": asked}}
        body = {"size": 1, "query": query, "_source": ["postings"]}
        hits = server.call("POST", path_of(items, "_search"), body)["hits"]["hits"]
        found = [(hit["_source"].get("postings"), hit["_score"]) for hit in hits]
        expected = sum(codes.values())
        if not found or found[0][0] != source["postings"] or abs(found[0][1] - expected) > 1e-5 * expected:
            raise VerificationError(
                f"{items} holds the item {name!r} with {found}, not with {source['postings']} codes and {expected:g} in all; "
                f"{advice}."
            )


def _check_code(server: Server, artifact: Artifact, items: str, row: int, field_type: str, advice: str) -> None:
    _numbers, grid = artifact.postings(row)
    query = Query((Clause(artifact.term(row), 1.0),), k=10)
    answer = server.call("POST", path_of(items, "_search"), search_body(query, field_type))
    best = sorted(from_grid(grid).tolist(), reverse=True)[:10]
    found = [hit["_score"] for hit in answer["hits"]["hits"][:10]]
    if len(found) != len(best) or any(abs(a - b) > 1e-6 * b for a, b in zip(found, best, strict=True)):
        raise VerificationError(
            f"{items} scores the code {artifact.term(row)} as {found[:3]}, not {best[:3]}; {advice}."
        )
