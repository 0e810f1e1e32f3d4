"""Systems in this process: the embedded engine, Faiss, a scipy sparse product."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import faiss
import numpy as np
import scipy.sparse
from faiss_points import faiss_points

from retrieval.postings import number_of
from retrieval.recipe import World
from retrieval.systems import EXCLUDED, FILTERS, MANY, Ask, Queries, System
from sparcode_es.engines.base import Hit
from sparcode_es.engines.embedded import EmbeddedEngine
from sparcode_es.engines.faiss import HNSW, IVFPQ, NOTHING, FaissIndex, FlatIP, Parameters
from sparcode_es.postings.artifact import Artifact
from sparcode_es.postings.grid import from_grid

KS = ("bare", "k 10", "k 500")
ALL = (*KS, *(ask.name for ask in FILTERS), EXCLUDED.name, MANY.name)


def numbers(hits: list[Hit]) -> list[int]:
    """Item numbers of hits."""
    return [number_of(hit.item) for hit in hits]


def embedded(artifact: Artifact, queries: Queries, setting: str = "", clauses: int | None = None) -> System:
    """Our engine over the artifact; a client is one more engine on the same maps."""

    def client() -> Callable[[Ask, int], list[Any]]:
        engine = EmbeddedEngine(artifact)

        def answer(ask: Ask, first: int) -> list[Any]:
            if ask.batch == 1:
                return [engine.search(queries.query(ask, first, clauses))]
            return engine.search_many([queries.query(ask, user, clauses) for user in queries.users(ask, first)])

        return answer

    about = {"mebibytes": round(6 * artifact.num_postings / 2**20, 1), "postings": artifact.num_postings}
    return System("embedded", setting, "sparse", client(), ALL, about, client, numbers)


def without_search(parameters: Parameters) -> Parameters:
    """The parameters that an index is built by: what a search alone reads has one value."""
    if isinstance(parameters, IVFPQ):
        return replace(parameters, probes=1)
    return replace(parameters, ef_search=1) if isinstance(parameters, HNSW) else parameters


def faiss_systems(world: World, queries: Queries) -> list[System]:
    """All of them; an index that differs in what a search reads only is built once."""
    built: dict[Parameters, tuple[FaissIndex, float]] = {}
    found = []
    sizes = (world.recipe.dim // 4, world.recipe.dim // 2)
    for kind, setting, parameters in faiss_points(world.recipe.items, sizes):
        key, size = without_search(parameters), None
        if key not in built:
            started = time.perf_counter()
            index = FaissIndex(world.vectors, parameters)
            built[key] = index, time.perf_counter() - started
            size = round(faiss.serialize_index(index.index).nbytes / 2**20, 1)
        index, seconds = built[key]
        about = {"mebibytes": size, "build_s": round(seconds, 1)}
        asks = (*KS, MANY.name) if isinstance(parameters, FlatIP) else KS
        found.append(System(f"Faiss {kind}", setting, "dense", _searcher(index, parameters, queries), asks, about))
    return found


def _searcher(index: FaissIndex, parameters: Parameters, queries: Queries) -> Callable[[Ask, int], list[Any]]:
    """`FaissIndex.search`, with what a search of this system reads set before each."""

    def answer(ask: Ask, first: int) -> list[Any]:
        if isinstance(parameters, IVFPQ):
            index.index.nprobe = parameters.probes
        elif isinstance(parameters, HNSW):
            index.index.hnsw.efSearch = max(parameters.ef_search, ask.k)
        vectors = queries.vectors[first : first + 1] if ask.batch == 1 else queries.vectors[queries.users(ask, first)]
        found, _scores = index.search(vectors, ask.k)
        return [row[row != NOTHING] for row in found]

    return answer


def scipy_sparse(artifact: Artifact, queries: Queries) -> System:
    """The same sums as a product of sparse matrices, float32."""
    values = from_grid(np.asarray(artifact.scores))
    shape = (artifact.num_codes, artifact.num_items)
    offsets = np.asarray(artifact.code_offsets).astype(np.int64)
    matrix = scipy.sparse.csr_matrix((values, np.asarray(artifact.item_numbers).astype(np.int32), offsets), shape)

    def answer(ask: Ask, user: int) -> list[Any]:
        clauses = queries.clauses[user]
        rows = [artifact.code_row(clause.term) for clause in clauses]
        asked = scipy.sparse.csr_matrix(
            (np.array([c.boost for c in clauses], np.float32), (np.zeros(len(rows), int), rows)), (1, shape[0])
        )
        sums = asked @ matrix
        best = np.argpartition(-sums.data, min(ask.k, len(sums.data)) - 1)[: ask.k]
        return [sums.indices[best[np.argsort(-sums.data[best])]]]

    about = {"mebibytes": round(8 * artifact.num_postings / 2**20, 1)}
    return System("scipy sparse", "", "sparse", answer, KS, about)
