"""How long single recommendations take on the engine that a report is of."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sparcode_es.report.facts import Latency
from sparcode_es.report.holding import FARTHEST, Holding

K = 10
"""Items that are asked for."""
USERS = 200
"""Different users, at most; they take turns."""
WARM = 50
"""Recommendations before the clock counts."""
PERCENTILES = (50, 95, 99)


def latency_of(holding: Holding, count: int, measured_at: str) -> Latency | None:
    """`count` recommendations one after the other, for users from all over the ids; None for 0 and where there are no users."""
    users = _users(holding, min(count, USERS))
    if not users:
        return None
    recommender, info = holding.recommender(), holding.inspector.engine.info()
    for i in range(WARM):
        recommender.recommend(users[i % len(users)], k=K)
    seconds = np.empty(count)
    for i in range(count):
        begin = time.perf_counter()
        recommender.recommend(users[i % len(users)], k=K)
        seconds[i] = time.perf_counter() - begin
    return Latency(
        engine=info.engine,
        version=holding.software(),
        where=info.where,
        machine=machine(),
        measured_at=measured_at,
        k=K,
        requests=count,
        users=len(users),
        warm_up=WARM,
        milliseconds=percentiles(1000 * seconds),
    )


def percentiles(values: np.ndarray) -> dict[str, float]:
    """{"p50": …}, each a value that was measured, float64 [n]."""
    found = np.percentile(values, PERCENTILES, method="inverted_cdf")
    return {f"p{share}": value for share, value in zip(PERCENTILES, found.tolist(), strict=True)}


def _users(holding: Holding, most: int) -> Sequence[str]:
    """At most so many users, at even distances in byte order of the ids."""
    there = min(holding.inspector.engine.info().num_users, FARTHEST)
    wanted = min(most, there)
    return holding.users([i * there // wanted for i in range(wanted)]) if wanted else ()


def machine() -> str:
    """Processor, cores and system of this machine."""
    return f"{processor()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}"


def processor() -> str:
    """The name of this machine's processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or "unknown processor")
