"""A process that runs case after case and says what came of each; whoever started it ends it when a case takes too long.

    python benchmarks/mutation/worker.py TARGET FIRST COUNT SEEDS WORK

It writes a JSON line when a case begins and one when it ended. Memory: the most that was resident during a case, and no more than
`ROOM` may be asked for beyond what stands when the first case begins.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
import tempfile
import traceback
import warnings
from pathlib import Path
from typing import IO, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

ROOM = 1 << 30


def limit_memory(room: int = ROOM) -> None:
    """Let this process ask for `room` bytes more than it has: more is a MemoryError, not a full machine."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    data = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmData")) << 10
    resource.setrlimit(resource.RLIMIT_DATA, (data + room, data + room))


def reset_peak() -> None:
    """Count the most resident memory from here on."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_mebibytes() -> float:
    """The most resident memory since `reset_peak`."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024


def outcome(target: str, seed: int, seeds: Path, work: Path) -> dict[str, Any]:
    """Run a case: accepted, refused with a sentence, or a traceback."""
    from mutation.targets import run_case
    from sparcode_es.errors import SparcodeError

    try:
        run_case(target, seed, seeds, work)
    except SparcodeError as error:
        return {"outcome": "refused" if str(error).strip() else "traceback", "detail": str(error)[:200]}
    except BaseException as error:
        last = traceback.extract_tb(error.__traceback__)
        ours = next((f"{each.filename.rpartition('/sparcode_es/')[2]}:{each.lineno}" for each in reversed(last)
                     if "/sparcode_es/" in each.filename or "/cli/" in each.filename), "")  # fmt: skip
        return {"outcome": "traceback", "detail": f"{type(error).__name__}: {str(error)[:200]}", "where": ours}
    return {"outcome": "accepted"}


def main() -> None:
    """Run the cases that the arguments name."""
    target, first, count, seeds, work = (
        sys.argv[1],
        int(sys.argv[2]),
        int(sys.argv[3]),
        Path(sys.argv[4]).resolve(),
        Path(sys.argv[5]).resolve(),
    )
    # A damaged argument may be the name of a file to write: not where we stand.
    with tempfile.TemporaryDirectory() as here, os.fdopen(os.dup(1), "w", buffering=1) as said:
        os.chdir(here)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(1, 2)
        work.mkdir(parents=True, exist_ok=True)
        _warm(target, seeds, work)
        limit_memory()
        for seed in range(first, first + count):
            _case(target, seed, seeds, work, said)


def _warm(target: str, seeds: Path, work: Path) -> None:
    """Import what the cases need before memory is counted."""
    os.environ["SPARCODE_DEBUG"] = "1"
    warnings.simplefilter("ignore")
    for seed in (-1, -2, -3):
        outcome(target, seed, seeds, work)


def _case(target: str, seed: int, seeds: Path, work: Path, said: IO[str]) -> None:
    said.write(json.dumps({"begin": seed}) + "\n")
    reset_peak()
    found = outcome(target, seed, seeds, work)
    said.write(json.dumps({"seed": seed, **found, "peak_mib": round(peak_mebibytes(), 1)}) + "\n")


if __name__ == "__main__":
    main()
