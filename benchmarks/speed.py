"""What the speed benchmarks share: child processes with a stated number of threads, their peak memory, and their report."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import altair as alt
import click
from environment import command_line, describe_environment, machine_line
from report import write_files

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def child(script: str, task: dict[str, Any], threads: int, python: str = sys.executable) -> dict[str, Any]:
    """Run `SCRIPT --child TASK` in a process of its own; the last line that it prints is its result, JSON."""
    command = [str(python), str(Path(__file__).parent / script), "--child", json.dumps(task)]
    environment = os.environ | dict.fromkeys(THREADS, str(threads))
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode != 0:
        said = " ".join(done.stderr.strip().splitlines()[-1:])
        raise click.ClickException(f"`{shlex.join(command)}` failed: {said}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def new_environment(folder: Path, *packages: str, clear: bool = False) -> Path:
    """Make a virtual environment in `folder` and install packages, as pip names them; the folder of its programs.

    clear: delete first what the folder holds.
    """
    venv.create(folder, with_pip=True, clear=clear)
    programs = folder / "bin"
    command = [str(programs / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = " ".join(done.stderr.strip().splitlines()[-1:])
        raise click.ClickException(f"{' '.join(packages)} cannot be installed into {folder}: {said}")
    return programs


def seconds(work: Callable[[], object], repeats: int = 1) -> float:
    """The least of some timings of a piece of work."""
    found = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return min(found)


def write_speed(
    out: Path, stem: str, title: str, body: str, result: dict[str, Any], chart: alt.TopLevelMixin | None
) -> None:
    """Write the report with the command, machine, versions and load before the body."""
    environment = describe_environment()
    machine, versions = environment["machine"], environment["packages"]
    command = command_line()
    where = (
        f"`{command}`\n\n{environment['date'][:10]}, commit {environment['commit']}, {machine_line(environment)}, "
        f"{machine['memory_gib']} GiB, load {machine['load_1min']}; Python {environment['python']}, "
        + ", ".join(f"{name} {version}" for name, version in versions.items() if name in ("torch", "numpy"))
        + "."
    )
    parts = [f"# {title}", where, body]
    if chart is not None:
        parts.append(f"![{title}]({stem}.png)")
    head = {"benchmark": stem, "command": command, "environment": environment}
    write_files(out, stem, "\n\n".join(parts) + "\n", {**head, **result}, chart)
