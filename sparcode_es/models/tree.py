"""Balanced trees over items, made by recursive balanced k-means (TDM, Zhu et al. 2018, §3.2)."""

from __future__ import annotations

import itertools

import numpy as np

ITERATIONS = 10
"""Of k-means in each node."""


def tree_bounds(leaves: int, branching: int) -> list[np.ndarray]:
    """The shape of the balanced tree: for each level, root first, where its nodes begin among the leaves in their order.

    Node j of a level holds the leaves bounds[level][j] … bounds[level][j + 1] - 1. A node of several leaves is cut into at
    most `branching` parts whose sizes differ by one at most; a node of one leaf has one child. So all leaves are
    equally deep, one level below the root or more.
    """
    bounds = [np.array([0, leaves], dtype=np.int64)]
    while len(bounds) == 1 or len(bounds[-1]) <= leaves:
        upper = bounds[-1]
        sizes = np.diff(upper)
        cuts = upper[:-1, None] + sizes[:, None] * np.arange(branching) // branching
        bounds.append(np.append(np.unique(cuts), leaves))
    return bounds


def nodes_of(bounds: list[np.ndarray]) -> np.ndarray:
    """The node above each leaf on each level but the root's, int64 [levels - 1, leaves]."""
    leaves = np.arange(bounds[0][-1])
    return np.stack([np.searchsorted(level, leaves, side="right") - 1 for level in bounds[1:]])


def children_of(bounds: list[np.ndarray], branching: int) -> list[np.ndarray]:
    """For each level but the last: each node's children on the next, -1 behind them, int64 [nodes, branching]."""
    tables = []
    for upper, lower in itertools.pairwise(bounds):
        first = np.searchsorted(lower, upper)
        table = first[:-1, None] + np.arange(branching)
        tables.append(np.where(table < first[1:, None], table, -1))
    return tables


def cluster_order(vectors: np.ndarray, bounds: list[np.ndarray], seed: int) -> np.ndarray:
    """The items in an order that puts similar ones under the same nodes. vectors: [I, D] → a permutation, int64 [I]."""
    order = np.arange(len(vectors))
    rng = np.random.default_rng(seed)
    for upper, lower in itertools.pairwise(bounds):
        first = np.searchsorted(lower, upper)
        for node in np.flatnonzero((np.diff(first) > 1) & (np.diff(upper) > np.diff(first))):
            inside = slice(upper[node], upper[node + 1])
            sizes = np.diff(lower[first[node] : first[node + 1] + 1])
            order[inside] = order[inside][_split(vectors[order[inside]], sizes, rng)]
    return order


def _split(vectors: np.ndarray, sizes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Rows of vectors [n, D] in the order of their clusters, which have these sizes: balanced k-means."""
    order = rng.permutation(len(vectors))
    begins = np.cumsum(sizes) - sizes
    centres = _spread(vectors, len(sizes), rng)
    for _ in range(ITERATIONS):
        before, order = order, _assign((centres**2).sum(1) - 2 * vectors @ centres.T, sizes)
        if np.array_equal(before, order):
            break
        centres = np.add.reduceat(vectors[order], begins) / sizes[:, None]
    return order


def _spread(vectors: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """A random row, then each time the one farthest from those chosen, [count, D]."""
    chosen = [vectors[rng.integers(len(vectors))]]
    nearest = np.full(len(vectors), np.inf)
    while len(chosen) < count:
        nearest = np.minimum(nearest, ((vectors - chosen[-1]) ** 2).sum(1))
        chosen.append(vectors[nearest.argmax()])
    return np.stack(chosen)


def _assign(distances: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Fill the clusters one after another with the rows that lose most elsewhere. distances: [n, k] → a permutation."""
    parts, left = [], np.arange(len(distances))
    for cluster, size in enumerate(sizes[:-1]):
        gain = distances[left, cluster] - distances[left, cluster + 1 :].min(1)
        ranked = np.argsort(gain, kind="stable")
        parts.append(left[np.sort(ranked[:size])])
        left = left[np.sort(ranked[size:])]
    return np.concatenate([*parts, left])
