"""Whether an index holds an artifact: counts, and scores of some postings, as real queries answer them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sparcode_es.engines.base import Clause, Query
from sparcode_es.engines.elasticsearch import bulk
from sparcode_es.engines.elasticsearch.connection import Server
from sparcode_es.engines.elasticsearch.layout import path_of
from sparcode_es.engines.elasticsearch.request import search_body
from sparcode_es.errors import VerificationError
from sparcode_es.postings.artifact import Artifact
from sparcode_es.postings.grid import from_grid

SAMPLES = 20


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
