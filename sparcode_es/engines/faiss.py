"""A two-tower's item vectors behind Faiss: exact (FlatIP), product quantisation (IVFPQ), a graph (HNSW).

It answers vectors, not codes, so it is no `Engine`: it is what the two-tower is served with, to compare with.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sparcode_es.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from sparcode_es.baselines.two_tower import TwoTower

NOTHING = -1
"""The item number of a place that an approximate search left empty; its score is -inf."""


@dataclass(frozen=True)
class FlatIP:
    """Exact: the inner product with every item."""


@dataclass(frozen=True)
class IVFPQ:
    """Inverted lists of product-quantised residuals (Jégou et al. 2011)."""

    lists: int = 64
    """Cells that k-means divides the items into."""
    probes: int = 16
    """Cells that a search reads."""
    subvectors: int = 16
    """Parts of a vector, `bits` bits each; must divide its size."""
    bits: int = 8

    def __post_init__(self) -> None:
        if not 1 <= self.probes <= self.lists:
            raise ConfigError(f"IVFPQ needs 1 ≤ probes ≤ lists, not probes = {self.probes} and lists = {self.lists}")
        if self.subvectors < 1 or not 4 <= self.bits <= 12:
            raise ConfigError(f"IVFPQ needs subvectors ≥ 1 and bits in 4…12, not {self.subvectors} and {self.bits}")


@dataclass(frozen=True)
class HNSW:
    """A navigable small-world graph over the items (Malkov and Yashunin 2020)."""

    neighbours: int = 32
    """Edges an item and level, M in the reference."""
    ef_construction: int = 200
    """Candidates kept while the graph is built."""
    ef_search: int = 128
    """Candidates kept by a search; at least k are."""

    def __post_init__(self) -> None:
        if self.neighbours < 2 or self.ef_construction < 1 or self.ef_search < 1:
            raise ConfigError("HNSW needs neighbours ≥ 2, ef_construction ≥ 1 and ef_search ≥ 1")


Parameters = FlatIP | IVFPQ | HNSW


class FaissIndex:
    """Item vectors that can be searched by inner product. Threads are Faiss's own: `faiss.omp_set_num_threads`."""

    def __init__(self, items: np.ndarray, parameters: Parameters = FlatIP()) -> None:
        """items: float32 [I, D], row i is item number i. Raises `ConfigError` for parameters that do not fit them."""
        faiss = _faiss()
        items = np.ascontiguousarray(items, dtype=np.float32)
        self.num_items, self.dim = items.shape
        self.parameters = parameters
        if isinstance(parameters, IVFPQ):
            self.index = _ivfpq(faiss, items, parameters)
        elif isinstance(parameters, HNSW):
            self.index = faiss.IndexHNSWFlat(self.dim, parameters.neighbours, faiss.METRIC_INNER_PRODUCT)
            self.index.hnsw.efConstruction = parameters.ef_construction
            self.index.hnsw.efSearch = parameters.ef_search
        else:
            self.index = faiss.IndexFlatIP(self.dim)
        self.index.add(items)

    @classmethod
    def of_two_tower(cls, model: TwoTower, parameters: Parameters = FlatIP()) -> FaissIndex:
        """The items of a trained two-tower; search it with `model.user_vectors(cases).numpy()`."""
        return cls(model.item_vectors().numpy(), parameters)

    def search(self, vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """vectors: float32 [n, D] → item numbers int64 [n, k], best first, and their inner products float32 [n, k].

        Equal scores go by item number, also where the cut falls into a tie. Places beyond what was found are `NOTHING`.
        """
        vectors = np.ascontiguousarray(vectors, dtype=np.float32)
        numbers = np.full((len(vectors), k), NOTHING, dtype=np.int64)
        scores = np.full((len(vectors), k), -np.inf, dtype=np.float32)
        rows, asked = np.arange(len(vectors)), min(k + 1, self.num_items)
        while len(rows):
            found_scores, found = self.index.search(vectors[rows], asked)
            found_scores[found == NOTHING] = -np.inf
            order = np.lexsort((found, -found_scores))[:, :k]
            numbers[rows, : order.shape[1]] = np.take_along_axis(found, order, axis=1)
            scores[rows, : order.shape[1]] = np.take_along_axis(found_scores, order, axis=1)
            if asked == self.num_items:
                break
            # A tie that goes on behind the last item asked for is asked for again, with more room.
            cut_off = (found_scores[:, -1] == found_scores[:, k - 1]) & np.isfinite(found_scores[:, -1])
            rows, asked = rows[cut_off], min(2 * asked, self.num_items)
        return numbers, scores


def _faiss() -> Any:
    try:
        return importlib.import_module("faiss")
    except ImportError as error:
        raise MissingExtraError.of("this needs faiss", "faiss") from error


def _ivfpq(faiss: Any, items: np.ndarray, parameters: IVFPQ) -> Any:
    num_items, dim = items.shape
    if dim % parameters.subvectors:
        raise ConfigError(f"IVFPQ.subvectors ({parameters.subvectors}) must divide the vectors' size ({dim})")
    least = max(parameters.lists, 2**parameters.bits)
    if num_items < least:
        raise ConfigError(
            f"IVFPQ needs {least} items to learn from, not {num_items}; use fewer lists and bits, or FlatIP"
        )
    coarse = faiss.IndexFlatIP(dim)
    index = faiss.IndexIVFPQ(
        coarse, dim, parameters.lists, parameters.subvectors, parameters.bits, faiss.METRIC_INNER_PRODUCT
    )
    # As Faiss's own factory does for inner products: centroids are directions.
    index.cp.spherical = True
    # Faiss prints a warning below 39 items a centroid, and learns all the same.
    index.cp.min_points_per_centroid = index.pq.cp.min_points_per_centroid = 1
    index.train(items)
    index.nprobe = parameters.probes
    return index
