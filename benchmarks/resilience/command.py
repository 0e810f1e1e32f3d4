"""`sparcode-es` as its users run it: in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from sparcode_es.postings.artifact import Artifact


def environment() -> dict[str, str]:
    """This process's own, without what would name a server or an index."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("ES_", "SPARCODE_"))}


def index_command(url: str, name: str, artifact: Artifact, *more: str) -> list[str]:
    """`sparcode-es index` of an artifact."""
    words = ["index", "--url", url, "--index", name, "--postings", str(artifact.path), *more]
    return [sys.executable, "-m", "sparcode_es_cli", *words]


def run(
    words: list[str], env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run to the end; a command that hangs for ten minutes is killed and counts as ended by a signal."""
    full = {**environment(), **(env or {})}
    try:
        return subprocess.run(words, env=full, cwd=cwd, capture_output=True, text=True, check=False, timeout=600)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(words, -9, "", "it hung for ten minutes")


def index(url: str, name: str, artifact: Artifact, *more: str) -> subprocess.CompletedProcess[str]:
    """Run `sparcode-es index`."""
    return run(index_command(url, name, artifact, *more))


def cli(*words: str) -> subprocess.CompletedProcess[str]:
    """Run `sparcode-es` with some words."""
    return run([sys.executable, "-m", "sparcode_es_cli", *words])
