"""The benchmark scripts import each other from their own folder, as when they are run."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.tiny import BENCHMARKS, import_sequences

sys.path.insert(0, str(BENCHMARKS))


@pytest.fixture(scope="session")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder of 80 users who walk along a ring of 100 items."""
    folder = tmp_path_factory.mktemp("ring")
    rng = np.random.default_rng(0)
    walks = [(int(rng.integers(100)), int(rng.integers(6, 12))) for _ in range(80)]
    lines = [
        " ".join([f"u{user}", *(f"i{(start + step) % 100}" for step in range(length))])
        for user, (start, length) in enumerate(walks)
    ]
    (folder / "log.txt").write_text("\n".join(lines) + "\n")
    return import_sequences(folder / "log.txt", folder / "ring")
