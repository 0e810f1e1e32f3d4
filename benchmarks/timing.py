"""Query times of several systems in one process: batch 1, one thread, in rounds, after warming up."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np
import torch
from threadpoolctl import threadpool_limits

ROUNDS = 5


@dataclass(frozen=True)
class Times:
    """Milliseconds a query: the median, and what 95 and 99 of 100 queries stay below."""

    p50_ms: float
    p95_ms: float
    p99_ms: float

    @classmethod
    def of(cls, milliseconds: list[float]) -> Times:
        """Of every query that was timed."""
        return cls(*(round(float(each), 4) for each in np.percentile(milliseconds, [50, 95, 99])))


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """BLAS, OpenMP, torch and Faiss on one thread."""
    before = torch.get_num_threads(), faiss.omp_get_max_threads()
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before[0])
        faiss.omp_set_num_threads(before[1])


def time_queries(systems: Mapping[str, Callable[[int], Any]], queries: int) -> dict[str, Times]:
    """Ask every system for queries 0 … n - 1, in `ROUNDS` parts: a part of each system in turn, begun with another each time.

    Load of the machine that comes and goes then meets all systems alike. Before the first part each answers a tenth.
    """
    names = list(systems)
    times: dict[str, list[float]] = {name: [] for name in names}
    for name in names:
        for query in range(max(1, queries // 10)):
            systems[name](query)
    for round_number, part in enumerate(np.array_split(np.arange(queries), ROUNDS)):
        for name in np.roll(names, -round_number).tolist():
            ask = systems[name]
            for query in part.tolist():
                began = time.perf_counter()
                ask(query)
                times[name].append(1000 * (time.perf_counter() - began))
    return {name: Times.of(found) for name, found in times.items()}
