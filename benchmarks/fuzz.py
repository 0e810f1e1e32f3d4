"""Damaged and hostile input for everything that is read: files, folders, models, configurations, requests, answers.

    python benchmarks/fuzz.py --cases 100000
    python benchmarks/fuzz.py --targets artifact --cases 2000 --first 5000
    python benchmarks/fuzz.py --repeat artifact 5017

A case is a target and a number, and nothing else: `--repeat` runs it again, with its traceback. Workers live from case to case; a
case that takes longer than `SECONDS` is a hang, and its worker is ended and replaced.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from command import BenchCommand, some_of
from environment import command_line, describe_environment
from marked import fill, row
from mutation.seeds import make_seeds
from mutation.targets import TARGETS, run_case

from sparcode_es.files import atomic_write

SECONDS = 30.0
"""A case may take."""
START_SECONDS = 120.0
PEAK_MIB = 1024.0
SHOWN = 20
ROOT = Path(__file__).resolve().parent.parent
WORKER = ROOT / "benchmarks" / "mutation" / "worker.py"
SLOW = {"deezer, vectors": 0.02, "command line": 0.5, "http requests": 0.7, "checkpoint": 0.7, "encoder": 0.7}
"""Targets whose cases take longer get this share of an even part."""


@dataclass
class Tally:
    """What came of a target's cases."""

    target: str
    counts: Counter[str] = field(default_factory=Counter)
    peak_mib: float = 0.0
    seconds: float = 0.0
    found: list[dict[str, Any]] = field(default_factory=list)

    def add(self, case: dict[str, Any]) -> None:
        """Count a case; one that needed too much memory is a defect of its own."""
        kind = str(case["outcome"])
        self.peak_mib = max(self.peak_mib, float(case.get("peak_mib", 0)))
        if float(case.get("peak_mib", 0)) > PEAK_MIB or "MemoryError" in str(case.get("detail", "")):
            kind = "memory"
        self.counts[kind] += 1
        if kind not in ("accepted", "refused") and len(self.found) < SHOWN:
            self.found.append({**case, "outcome": kind})

    @property
    def cases(self) -> int:
        """All of them."""
        return sum(self.counts.values())


class Worker:
    """A worker process and its lines."""

    def __init__(self, target: str, first: int, count: int, seeds: Path, work: Path) -> None:
        command = [sys.executable, str(WORKER), target, str(first), str(count), str(seeds), str(work)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "ARROW_DEFAULT_MEMORY_POOL": "system"}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment)
        self._buffer = b""

    def line(self, seconds: float) -> dict[str, Any] | None:
        """The next line; None when it does not come in time, or at the end."""
        assert self.process.stdout is not None
        end = time.monotonic() + seconds
        while b"\n" not in self._buffer:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0.0, end - time.monotonic()))
            more = os.read(self.process.stdout.fileno(), 1 << 16) if ready else b""
            if not more:
                return None
            self._buffer += more
        first, _, self._buffer = self._buffer.partition(b"\n")
        found: dict[str, Any] = json.loads(first)
        return found

    def end(self) -> int:
        """Stop it; its status, negative for a signal of another's."""
        status = self.process.poll()
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
        return status or 0


def fuzz(target: str, first: int, count: int, seeds: Path, work: Path) -> Tally:
    """Run a target's cases in workers, one after another's end."""
    tally, at, started = Tally(target), first, time.monotonic()
    while at < first + count:
        worker = Worker(target, at, first + count - at, seeds, work)
        at, more = _follow(worker, tally, at, first + count), worker.end()
        if at < first + count and more == 0 and not tally.cases:
            raise click.ClickException(f"the worker of {target} does not start: {worker.process.args}")
    tally.seconds = time.monotonic() - started
    return tally


def _follow(worker: Worker, tally: Tally, at: int, end: int) -> int:
    """Count what a worker says; the number of the case after the last one that came to an end, however it did."""
    begun = False
    while at < end:
        line = worker.line(SECONDS if begun else START_SECONDS)
        if line is None:
            if begun:
                hung = worker.process.poll() is None
                tally.add(
                    {"outcome": "hang" if hung else "crash", "seed": at, "detail": f"status {worker.process.poll()}"}
                )
                return at + 1
            return at
        begun = "begin" in line
        if not begun:
            tally.add(line)
            at += 1
    return at


def parts(cases: int, targets: list[str]) -> dict[str, int]:
    """How many cases each target gets."""
    weights = {target: SLOW.get(target, 1.0) for target in targets}
    return {target: max(1, round(cases * weight / sum(weights.values()))) for target, weight in weights.items()}


def table(tallies: list[Tally]) -> list[str]:
    """The document's table."""
    head = ("target", "cases", "refused with a sentence", "accepted", "tracebacks", "hangs", "over 1 GiB", "peak MiB")
    lines = [row(head), row(["---"] * len(head))]
    total: Counter[str] = sum((tally.counts for tally in tallies), Counter())
    for name, cases, counts, peak in (
        *((tally.target, tally.cases, tally.counts, tally.peak_mib) for tally in tallies),
        ("all", sum(total.values()), total, max(tally.peak_mib for tally in tallies)),
    ):
        broken = counts["traceback"] + counts["crash"]
        lines.append(row([name, f"{cases:,}", f"{counts['refused']:,}", f"{counts['accepted']:,}", broken, counts["hang"],
                          counts["memory"], f"{peak:.0f}"]))  # fmt: skip
    return lines


@click.command(cls=BenchCommand, epilog="\b\nExample:\n  python benchmarks/fuzz.py --cases 100000 --jobs 2")
@click.option("--cases", default=100_000, show_default=True, help="Of all targets together.")
@click.option("--targets", default=",,".join(TARGETS), help="Names with ,, between.")
@click.option("--first", default=0, show_default=True, help="The number of each target's first case.")
@click.option("--jobs", default=os.cpu_count() or 1, show_default=True)
@click.option("--repeat", nargs=2, type=(str, int), help="One case again: TARGET NUMBER.")
@click.option("--out", type=click.Path(path_type=Path), default=ROOT / "benchmarks" / "results", show_default=True)
@click.option("--document", type=click.Path(path_type=Path), default=ROOT / "docs" / "resiliency.md", show_default=True)
def main(
    cases: int, targets: str, first: int, jobs: int, repeat: tuple[str, int] | None, out: Path, document: Path
) -> None:
    """Fuzz every reader; write OUT/fuzz.json and the document's table. Exit code 1 where a defect was found."""
    named = ("--targets", targets) if repeat is None else ("--repeat", repeat[0])
    asked = some_of(named[1], TARGETS, named[0], separator=",,")
    base = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="fuzz-", dir=base))
    try:
        seeds = make_seeds(folder / "seeds")
        if repeat is not None:
            (folder / "work").mkdir()
            os.environ["SPARCODE_DEBUG"] = "1"
            run_case(repeat[0], repeat[1], seeds, folder / "work")
            return
        tallies = _all(parts(cases, asked), first, jobs, seeds, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    about = describe_environment(command=command_line(), first=first)
    _write(out, tallies, about)
    where = f"{about['date'][:10]}, {about['machine']['cores']} cores: `{about['command']}`"
    fill(document, "fuzz table", [*table(tallies), "", f"{sum(tally.cases for tally in tallies):,} cases, {where}."])
    if any(tally.found for tally in tallies):
        sys.exit(1)


def _all(wanted: dict[str, int], first: int, jobs: int, seeds: Path, folder: Path) -> list[Tally]:
    def one(target: str) -> Tally:
        tally = fuzz(target, first, wanted[target], seeds, folder / target.replace(" ", "-"))
        click.echo(f"{target}: {dict(tally.counts)}, peak {tally.peak_mib:.0f} MiB, {tally.seconds:.0f} s", err=True)
        for case in tally.found:
            click.echo(f"  {json.dumps(case)}", err=True)
        return tally

    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(one, wanted))


def _write(out: Path, tallies: list[Tally], about: dict[str, Any]) -> None:
    rows = [
        {
            "target": each.target,
            "cases": each.cases,
            **each.counts,
            "peak_mib": each.peak_mib,
            "seconds": round(each.seconds),
        }
        | {"found": each.found}
        for each in tallies
    ]
    out.mkdir(parents=True, exist_ok=True)
    with atomic_write(out / "fuzz.json", "w") as file:
        file.write(json.dumps({"environment": about, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
