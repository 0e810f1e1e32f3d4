"""Which (code, item) pairs make up the best items of users: what a cut keeps first, if answers are to stay as they are.

A posting matters where its item stands near the top of somebody's answer. For a sample of users the whole sum of Eq. 11 is
made over all candidates; a pair's traffic is what it gives to the sum of the items among each one's best. A global bias
(Eq. 15) or the best n of each code know nothing of that: they keep high scores that no answer shows, and cut the small parts
of sums that win.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from sparcode_es import csr
from sparcode_es.codes import UserCodes, rows_of
from sparcode_es.postings.grid import from_grid
from sparcode_es.postings.transpose import ItemBlock, transpose

USERS_AT_ONCE = 512


def boosts_of(users: UserCodes, table: np.ndarray, most: int) -> sparse.csr_matrix:
    """Boosts of at most `most` users, evenly spread, on rows of `table` uint32 [C, 1 + M]: float32 [U', C]."""
    rows = rows_of(table, users.codes)
    known = rows >= 0
    owners = csr.owners(users.offsets)
    shape = (len(users), len(table))
    found = sparse.csr_matrix((users.boosts[known], (owners[known], rows[known])), shape=shape, dtype=np.float32)
    return found if len(users) <= most else found[np.linspace(0, len(users) - 1, most).astype(np.int64)]


def traffic(
    boosts: sparse.csr_matrix, offsets: np.ndarray, items: np.ndarray, scores: np.ndarray, num_items: int, top: int
) -> tuple[np.ndarray, np.ndarray]:
    """The candidate postings that give something to the `top` best items of the users of `boosts` [U', C], and how much.

    offsets: uint64 [C + 1], items: uint32 [P], scores: grid values uint16 [P] → places in 0 … P - 1, ascending int64 [t], and
    float32 [t]. Memory grows with the users and their best items, not with the postings.
    """
    best = best_items(boosts, offsets, items, scores, num_items, top)
    wanted = sparse.csr_matrix(boosts.T @ best)  # [C, I]: the boosts with which somebody's best item asks for the pair
    found: list[tuple[np.ndarray, np.ndarray]] = [(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32))]
    for row, (start, stop) in enumerate(zip(offsets[:-1].astype(np.int64), offsets[1:].astype(np.int64), strict=True)):
        asked = slice(wanted.indptr[row], wanted.indptr[row + 1])
        _, places, which = np.intersect1d(
            items[start:stop], wanted.indices[asked].astype(np.uint32), assume_unique=True, return_indices=True
        )
        found.append((start + places, wanted.data[asked][which] * from_grid(np.asarray(scores[start:stop][places]))))
    where, much = zip(*found, strict=True)
    return np.concatenate(where), np.concatenate(much)


def best_items(
    boosts: sparse.csr_matrix, offsets: np.ndarray, items: np.ndarray, scores: np.ndarray, num_items: int, top: int
) -> sparse.csr_matrix:
    """The items with the `top` largest sums of Eq. 11 for each user, as ones, float32 [U', num_items]."""
    users = boosts.shape[0]
    sums, numbers = np.zeros((users, 0), dtype=np.float32), np.zeros((users, 0), dtype=np.int64)
    for block in transpose(offsets, items, scores, num_items):
        table = _by_item(block, boosts.shape[1])
        parts = [_top(boosts[i : i + USERS_AT_ONCE], table, top) for i in range(0, users, USERS_AT_ONCE)]
        sums = np.concatenate([sums, np.concatenate([part[0] for part in parts])], axis=1)
        numbers = np.concatenate([numbers, block.first + np.concatenate([part[1] for part in parts])], axis=1)
        order = np.argsort(-sums, axis=1, kind="stable")[:, :top]
        sums, numbers = np.take_along_axis(sums, order, axis=1), np.take_along_axis(numbers, order, axis=1)
    owners = np.repeat(np.arange(users), sums.shape[1])
    there = sums.ravel() > 0
    ones = np.ones(int(there.sum()), dtype=np.float32)
    return sparse.csr_matrix((ones, (owners[there], numbers.ravel()[there])), shape=(users, num_items))


def _by_item(block: ItemBlock, codes: int) -> sparse.csc_matrix:
    """The scores of a block, float32 [codes, items]."""
    values = from_grid(block.scores)
    return sparse.csc_matrix((values, block.code_rows.astype(np.int64), block.offsets), shape=(codes, len(block)))


def _top(boosts: sparse.csr_matrix, table: sparse.csc_matrix, top: int) -> tuple[np.ndarray, np.ndarray]:
    """The largest sums of some users over a block's items, and their places: [u, t] each."""
    sums = (boosts @ table).toarray()
    most = min(top, sums.shape[1])
    places = np.argpartition(-sums, most - 1, axis=1)[:, :most]
    return np.take_along_axis(sums, places, axis=1), places
