"""Ridge weights of the item codes' pairs: what an item tells of another that the items around it do not tell already.

A lift looks at two items alone. Here each item c is regressed on the items that histories have beside it (SLIM, Ning and
Karypis 2011, in the closed form of EASE, Steck 2019, for some neighbours of each item): with G = XᵀX, how many histories hold
two items, and N the neighbours of c, w = (G_NN + λI)⁻¹ G_Nc. Weights below 0 are left out, as are pairs that have no lift: the
postings stay the same ones.
"""

from __future__ import annotations

import numpy as np
from scipy import linalg, sparse

from sparcode_es import csr
from sparcode_es.data.dataset import Sequences
from sparcode_es.models.memory import GAMMA

PENALTY = 400.0
"""λ, in histories."""
NEIGHBOURS = 200
"""Items that another is regressed on, those of the largest cosine."""
PIECES = (200, 50, 20)
"""Events of a long history that count as together: it is taken in pieces of the first of these lengths with which there are no
more pairs than `MOST_PAIRS`, or of the last."""
MOST_PAIRS = 1 << 29
"""Of two events of a piece, in all: they take up to 8 bytes each."""


def ridge_weights(sequences: Sequences, counts: sparse.csr_matrix) -> np.ndarray:
    """w ≥ 0 of each pair (j, c) of `counts` [I, I], how much j tells of c; float32, in the order of the counts."""
    together = _together(sequences, counts.shape[1])
    diagonal = together.diagonal()
    places = sparse.csr_matrix((np.arange(counts.nnz), counts.indices, counts.indptr), shape=counts.shape).tocsc()
    weights, place = np.zeros(counts.nnz, dtype=np.float32), np.full(counts.shape[0], -1)
    for item in np.flatnonzero(np.diff(places.indptr)).tolist():
        neighbours, beside = _neighbours(together, diagonal, item)
        if not len(neighbours):
            continue
        place[neighbours] = np.arange(len(neighbours))
        among = _among(together, neighbours, place)
        among[np.diag_indices_from(among)] += PENALTY
        found = np.append(
            linalg.solve(among, beside, assume_a="pos"), 0.0
        )  # the last, place -1: of all that are no neighbours
        own = slice(places.indptr[item], places.indptr[item + 1])
        weights[places.data[own]] = np.maximum(found[place[places.indices[own]]], 0)
        place[neighbours] = -1
    return weights


def _together(sequences: Sequences, num_items: int) -> sparse.csr_matrix:
    """G = XᵀX: how many pieces of histories hold two items, float32 [I, I]; an item counts once a piece."""
    lengths = np.diff(sequences.offsets.astype(np.int64))
    piece = next((size for size in PIECES if _pairs(lengths, size) <= MOST_PAIRS), PIECES[-1])
    starts = np.flatnonzero(csr.ranges(0, lengths) % piece == 0)
    items = sequences.items.astype(np.int64)  # a copy, which is put in order below
    ones, offsets = np.ones(len(items), dtype=np.float32), np.append(starts, len(items))
    held = sparse.csr_matrix((ones, items, offsets), shape=(len(starts), num_items))
    held.sum_duplicates()
    held.data[:] = 1
    return sparse.csr_matrix(held.T.tocsr() @ held)


def _pairs(lengths: np.ndarray, piece: int) -> int:
    """Pairs of events of one piece, of histories of such lengths."""
    whole, rest = np.divmod(lengths, piece)
    return int((whole * piece**2 + rest**2).sum())


def _among(together: sparse.csr_matrix, items: np.ndarray, place: np.ndarray) -> np.ndarray:
    """G of some items among themselves, float64 [n, n]; place: of each item in `items`, -1 for all others.

    scipy's `together[items][:, items]` would go through a table of all items each time.
    """
    starts = together.indptr[items]
    lengths = together.indptr[items + 1] - starts
    index = csr.ranges(starts, lengths)
    columns = place[together.indices[index]]
    inside = columns >= 0
    among = np.zeros((len(items),) * 2)
    among[np.repeat(np.arange(len(items)), lengths)[inside], columns[inside]] = together.data[index][inside]
    return among


def _neighbours(together: sparse.csr_matrix, diagonal: np.ndarray, item: int) -> tuple[np.ndarray, np.ndarray]:
    """The items that are most often beside one, for how often they occur, and G of each and that one."""
    part = slice(together.indptr[item], together.indptr[item + 1])
    others = together.indices[part] != item
    items, beside = together.indices[part][others], together.data[part][others]
    if len(items) <= NEIGHBOURS:
        return items, beside
    most = np.argpartition(-beside / np.sqrt(diagonal[items] + GAMMA), NEIGHBOURS)[:NEIGHBOURS]
    return items[most], beside[most]
