"""Closed and open loops of a blocking question: what is held, and what happens when more arrives than that."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Question = Callable[[int], str]
"""The number of a request → how it was answered, one of `OUTCOMES`."""
OUTCOMES = ("codes", "shed", "popular", "refused", "error")
"""From the codes; popular items as the call was shed; popular items for another reason; 503 with Retry-After; anything else."""
THREADS = 256
"""Of the open loop: more than are answered from the codes at once, so that it begins the others in time."""


@dataclass
class Record:
    """The requests of a stage: seconds since its start when each was to begin and when its answer was there, and the answer."""

    seconds: float
    sent: int = 0
    due: list[float] = field(default_factory=list)
    ended: list[float] = field(default_factory=list)
    outcomes: list[str] = field(default_factory=list)
    most_at_once: int = 0

    def counts(self) -> Counter[str]:
        """Answers by kind."""
        return Counter(self.outcomes)

    def latencies(self, *kinds: str) -> np.ndarray:
        """Milliseconds from the intended start to the answer, of these kinds or of all, float64 [n]."""
        waited = 1000 * (np.array(self.ended) - np.array(self.due))
        return waited if not kinds else waited[np.isin(self.outcomes, kinds)]


def schedule(rate: float, seconds: float, poisson: bool, seed: int) -> np.ndarray:
    """When requests begin, seconds from the start, float64 [n]: at a fixed rate, evenly or as a Poisson process."""
    if not poisson:
        return np.arange(0, seconds, 1 / rate)
    gaps = np.random.default_rng(seed).exponential(1 / rate, int(rate * seconds * 1.5) + 50)
    times: np.ndarray = np.cumsum(gaps)
    return times[times < seconds]


def closed_loop(ask: Question, clients: int, seconds: float) -> float:
    """Requests a second that `clients` get answered who each wait for one answer before they ask again."""
    numbers, counts = itertools.count(), [0] * clients
    end = time.perf_counter() + seconds

    def client(row: int) -> None:
        while time.perf_counter() < end:
            ask(next(numbers))
            counts[row] += 1

    threads = [threading.Thread(target=client, args=(row,)) for row in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / seconds


def open_loop(ask: Question, starts: np.ndarray, seconds: float, threads: int) -> Record:
    """Ask at the given times whatever the answers take, on at most so many threads; ends when all are answered."""
    record, lock = Record(seconds, sent=len(starts)), threading.Lock()
    begun = time.perf_counter()
    inside = [0]

    def request(number: int, due: float) -> None:
        with lock:
            inside[0] += 1
            record.most_at_once = max(record.most_at_once, inside[0])
        try:
            outcome = ask(number)
        except Exception as error:
            outcome = f"error {type(error).__name__}"
        ended = time.perf_counter() - begun
        with lock:
            inside[0] -= 1
            record.due.append(due)
            record.ended.append(ended)
            record.outcomes.append(outcome)

    with ThreadPoolExecutor(threads) as pool:
        for number, due in enumerate(starts.tolist()):
            pause = begun + due - time.perf_counter()
            if pause > 0:
                time.sleep(pause)
            pool.submit(request, number, due)
    return record


def summary(record: Record) -> dict[str, Any]:
    """A stage in figures. `lost`: asked and never answered; `errors`: answered with neither items nor a marked refusal."""
    counts = record.counts()
    known = sum(counts[kind] for kind in OUTCOMES[:4])
    answered, latencies = record.latencies("codes"), record.latencies()
    return {
        "sent": record.sent,
        "per_second": round(record.sent / record.seconds, 1),
        **{kind: counts[kind] for kind in OUTCOMES[:4]},
        "errors": len(record.outcomes) - known,
        "lost": record.sent - len(record.outcomes),
        "most_at_once": record.most_at_once,
        **_percentiles("codes", answered),
        **_percentiles("all", latencies),
        "kinds_of_errors": sorted(set(record.outcomes) - set(OUTCOMES)),
    }


def _percentiles(name: str, latencies: np.ndarray) -> dict[str, float | None]:
    places = {"p50": 50, "p99": 99, "p99.9": 99.9}
    return {
        f"{name}_{short}_ms": round(float(np.percentile(latencies, place)), 1) if len(latencies) else None
        for short, place in places.items()
    }


def recovery(record: Record, usual_p50: float) -> float | None:
    """Seconds from the start of a stage until nothing is shed for a second any more and its median is at most twice the usual;
    None when that does not come."""
    due, codes = np.array(record.due), np.array(record.outcomes) == "codes"
    latencies = record.latencies()
    for second in range(int(record.seconds)):
        window = (due >= second) & (due < second + 1)
        if window.any() and codes[window].all() and np.median(latencies[window]) <= 2 * usual_p50:
            return float(second)
    return None
