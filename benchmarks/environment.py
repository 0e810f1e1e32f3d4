"""What a measurement was made on: machine, versions, commit, date. Every benchmark writes this beside its figures."""

from __future__ import annotations

import datetime
import os
import platform
import resource
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from sparcode_es.report.latency import processor

PACKAGES = ("sparcode-es", "numpy", "torch", "elasticsearch", "faiss-cpu", "numba", "scipy", "pandas", "orjson")


def describe_environment(**more: Any) -> dict[str, Any]:
    """A JSON-ready description of this run; `more` (seeds, server versions, settings) is added as it is."""
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "commit": _commit(),
        "machine": {
            "cpu": processor(),
            "cores": os.cpu_count(),
            "gpu": _gpu(),
            "memory_gib": _memory_gib(),
            "system": platform.platform(),
            "load_1min": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        },
        "python": platform.python_version(),
        "packages": {name: version for name in PACKAGES if (version := _version(name)) is not None},
        **more,
    }


def command_line() -> str:
    """As it was typed, from the repository's root."""
    return shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]])


def environment_line(environment: dict[str, Any]) -> str:
    """`2 cores (AMD EPYC), torch 2.15.0, 2026-11-27, commit 1234567`: what a table says of where a figure is from."""
    parts = [
        machine_line(environment),
        f"torch {environment['packages'].get('torch', '–')}",
        environment["date"][:10],
    ]
    if environment["commit"] is not None:
        changed = "+" * environment["commit"].endswith("+")
        parts.append(f"commit {environment['commit'][:7]}{changed}")
    return ", ".join(parts)


def machine_line(environment: dict[str, Any]) -> str:
    """`2 cores (AMD EPYC)`, behind its GPU if torch computed on one."""
    machine = environment["machine"]
    cores = f"{machine['cores']} cores ({machine['cpu']})"
    return f"one {machine['gpu']}, {cores}" if machine.get("gpu") else cores


def peak_mib() -> float:
    """The most memory that this process has held, MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1 << 20 if sys.platform == "darwin" else 1 << 10), 1)


def _gpu() -> str | None:
    """The GPU that torch computes on, if the process uses torch and there is one."""
    torch = sys.modules.get("torch")
    return torch.cuda.get_device_name() if torch is not None and torch.cuda.is_available() else None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The checkout's commit, with `+` behind it when tracked files differ; None outside a git checkout."""
    root = Path(__file__).resolve().parent.parent
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=True)
        dirty = subprocess.run(["git", "diff", "--quiet", "HEAD"], cwd=root, check=False).returncode != 0
    except (OSError, subprocess.CalledProcessError):
        return None
    return head.stdout.strip()[:12] + ("+" if dirty else "")


def _memory_gib() -> float | None:
    meminfo = Path("/proc/meminfo")
    if not meminfo.exists():
        return None
    total = next(line for line in meminfo.read_text(encoding="utf-8").splitlines() if line.startswith("MemTotal"))
    return round(int(total.split()[1]) / 2**20, 1)
