"""What an artifact's cuts can have taken, told from what is left: a pair that is missing for another reason is a defect."""

from __future__ import annotations

import numpy as np

from sparcode_es import csr
from sparcode_es.postings.artifact import Artifact
from sparcode_es.postings.groups import rank_in_group
from sparcode_es.postings.transpose import transpose

STEP = 1
"""Grid steps by which a score may differ when it is made again, on another device say."""


class Cuts:
    """The cuts of `prune`, as conditions that each pair which they took meets. A bias (Eq. 15) is none of them."""

    def __init__(self, artifact: Artifact) -> None:
        config, counts = artifact.manifest.config, artifact.manifest.counts
        self._per_code, self._per_item = config.max_postings_per_code, config.max_codes_per_item
        self._by_traffic = config.cut == "traffic"
        self._learned = artifact.num_codes - counts.item_codes
        if self._by_traffic:
            left = artifact.num_postings - counts.item_code_postings
            most = round((1 - (config.sparsity or 0)) * self._learned * artifact.num_items)
            # A maximum an item comes after the traffic: how many that left is not known.
            self._by_traffic = left >= most or self._per_item is not None
        self._item_ends = None if self._per_item is None else nth_best(artifact, self._per_item)
        floor = config.min_codes_per_item
        self._floor_ends = nth_best(artifact, floor) if floor else None
        self.any = config.cut == "traffic" or self._per_code is not None or self._per_item is not None
        """Whether positive scores can have been left out on purpose."""

    def can_have_taken(self, row: int, candidates: np.ndarray) -> np.ndarray:
        """Which pairs of the code `row` may be missing: the grid values of all its pairs, uint16 [I] → bool [I].

        A maximum a code takes what as many others of the code reach; one an item, what as many of its postings reach; traffic,
        pairs of learned codes, and leaves the number that it was asked for. None takes what a floor keeps.
        """
        values = candidates.astype(np.int64)
        reached = values - STEP
        taken = np.full(len(values), self._by_traffic and row < self._learned)
        if self._per_code is not None:
            others = len(values) - np.searchsorted(np.sort(values), reached) - 1
            taken |= others >= self._per_code
        if self._item_ends is not None:
            taken |= self._item_ends >= reached
        if self._floor_ends is not None:
            taken &= self._floor_ends >= reached
        return taken


def nth_best(artifact: Artifact, n: int) -> np.ndarray:
    """The n-th largest grid value of each item's postings, int64 [I]; 0 for an item with fewer. One pass over all of them."""
    found = np.zeros(artifact.num_items, dtype=np.int64)
    for block in transpose(artifact.code_offsets, artifact.item_numbers, artifact.scores, artifact.num_items):
        owners = csr.owners(block.offsets)
        order = np.lexsort((-block.scores.astype(np.int64), owners))
        nth = order[rank_in_group(owners[order]) == n - 1]
        found[block.first + owners[nth]] = block.scores[nth]
    return found
