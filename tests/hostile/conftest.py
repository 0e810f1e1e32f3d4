"""The fuzzer lies beside the benchmarks; its seeds are made once."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))


@pytest.fixture(scope="session")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Good files of every kind."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    pytest.importorskip("fastapi")
    from mutation.seeds import make_seeds

    return make_seeds(tmp_path_factory.mktemp("hostile") / "seeds")
