"""Several clients at the same time."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from timing import Times

from retrieval.systems import BARE, System

CLIENTS = (1, 4, 16)


def time_clients(system: System, clients: int, queries: int, users: int) -> dict[str, Any]:
    """Ask `queries` bare queries in all from `clients` threads of this process, each with a client of its own.

    Returns p50, p95, p99 of a query, and the queries a second of all clients together.
    """
    assert system.client is not None
    answers = [system.client() for _ in range(clients)]
    ready = threading.Barrier(clients)
    each = max(1, queries // clients)

    def run(number: int) -> tuple[float, list[float], float]:
        answer, times = answers[number], []
        try:
            for place in range(max(1, each // 10)):
                answer(BARE, (number * each + place) % users)
        except BaseException:
            ready.abort()
            raise
        ready.wait()
        began = time.perf_counter()
        for place in range(each):
            started = time.perf_counter()
            answer(BARE, (number * each + place) % users)
            times.append(1000 * (time.perf_counter() - started))
        return began, times, time.perf_counter()

    with ThreadPoolExecutor(clients) as pool:
        waiting = [pool.submit(run, number) for number in range(clients)]
        failed = [error for future in waiting if (error := future.exception())]
        # What broke the barrier, rather than that it broke.
        for error in sorted(failed, key=lambda error: isinstance(error, threading.BrokenBarrierError)):
            raise error
        runs = [future.result() for future in waiting]
    seconds = max(end for *_, end in runs) - min(begin for begin, *_ in runs)
    times = Times.of([each for _, found, _ in runs for each in found])
    return {**vars(times), "queries_per_second": round(each * clients / seconds, 1)}
