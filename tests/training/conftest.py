"""A log whose right answer is known."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest


def ring(folder: Path, *options: str) -> Path:
    """A data folder whose right answer is known: each user walks along a ring of 40 items, so the next item is certain."""
    rng = np.random.default_rng(0)
    lines = []
    for user in range(200):
        start, length = rng.integers(40), rng.integers(6, 14)
        lines.append(" ".join([f"u{user}", *(f"i{(start + step) % 40}" for step in range(length))]))
    source = folder / "chain.txt"
    source.write_text("\n".join(lines) + "\n")
    command = [
        sys.executable,
        "-m",
        "sparcode_es_cli",
        "data",
        "import",
        str(source),
        "--format",
        "sequences",
        *options,
    ]
    subprocess.run([*command, "--out", str(folder / "data")], check=True, capture_output=True)
    return folder / "data"


@pytest.fixture(scope="session")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ring, the last two events of each user held out."""
    return ring(tmp_path_factory.mktemp("chain"))
