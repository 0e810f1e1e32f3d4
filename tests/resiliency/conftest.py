"""The faults are those of benchmarks/resilience, made a few times instead of many."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

if TYPE_CHECKING:
    from resilience.world import World


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Two small artifacts and their answers."""
    from resilience.world import World

    return World(tmp_path_factory.mktemp("resiliency"))
