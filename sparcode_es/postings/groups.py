"""Places within groups: the best few of each."""

from __future__ import annotations

import numpy as np

from sparcode_es import csr


def rank_in_group(keys: np.ndarray) -> np.ndarray:
    """The place of each entry among those of its key, from 0: sorted keys [n] → int64 [n]."""
    starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]])) if len(keys) else np.zeros(0, np.int64)
    lengths = np.diff(np.concatenate([starts, [len(keys)]]))
    return csr.ranges(0, lengths)
