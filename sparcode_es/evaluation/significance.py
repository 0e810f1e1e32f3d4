"""Whether one system is better than another for the same users, or only luckier."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class PairedTest:
    """The mean difference of a metric over the users, and the p of its two-sided paired t-test."""

    difference: float
    p: float
    users: int


def paired_test(better: np.ndarray, worse: np.ndarray) -> PairedTest:
    """A metric of two systems for the same n users, [seeds, n] each: seeds are averaged, then users are paired.

    Averaging first makes users the sample: seeds share their users and are no independent draws. Where every user has the
    same difference there is no variance to test: p is 1 for a difference of 0, else 0. One user alone says nothing: p is nan.
    p is that of one test; who makes many has to correct it. Raises `ValueError` for systems measured on different users.
    """
    if better.shape[1:] != worse.shape[1:] or better.ndim != 2:
        raise ValueError(f"the systems must be measured on the same users: {better.shape} and {worse.shape}")
    a, b = better.mean(0), worse.mean(0)
    difference = a - b
    if len(difference) < 2:
        p = float("nan")
    elif np.ptp(difference) == 0:
        p = 1.0 if difference[0] == 0 else 0.0
    else:
        p = float(stats.ttest_rel(a, b).pvalue)
    return PairedTest(float(difference.mean()), p, len(difference))
