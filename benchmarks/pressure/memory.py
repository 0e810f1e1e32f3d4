"""The resident memory of a process while it works."""

from __future__ import annotations

import threading
import time

import numpy as np
import psutil


class Memory:
    """Samples a process's resident memory each second, from entering to leaving the block."""

    def __init__(self, pid: int, every: float = 1.0) -> None:
        self._process, self._every = psutil.Process(pid), every
        self._ended = threading.Event()
        self._samples: list[tuple[float, float]] = []
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        while not self._ended.is_set():
            self._samples.append((time.perf_counter(), self._process.memory_info().rss / 2**20))
            self._ended.wait(self._every)

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def figures(self) -> dict[str, float]:
        """Mebibytes at the beginning, at the end and at most, and the slope of the second half, mebibytes a minute."""
        times, sizes = np.array(self._samples).T
        later = len(times) // 2
        slope = np.polyfit(times[later:] - times[later], sizes[later:], 1)[0] * 60 if len(times) - later > 2 else 0.0
        ends = {"begin_mib": sizes[0], "end_mib": sizes[-1], "peak_mib": sizes.max(), "mib_per_minute": slope}
        return {name: round(float(value), 2) for name, value in ends.items()}
