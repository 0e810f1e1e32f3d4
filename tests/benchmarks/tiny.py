"""Where the benchmarks are, and flags of a training that takes a second."""

from __future__ import annotations

from pathlib import Path

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
TINY = [
    f"--set={setting}"
    for setting in (
        "tokenizer.dim=16",
        "tokenizer.layers=1",
        "tokenizer.hidden=[16]",
        "quantizer.codes=8",
        "quantizer.codes_per_token=2",
        "quantizer.kmeans_iterations=3",
        "scorer.hidden=[4]",
        "training.tower.epochs=1",
        "training.codes.epochs=1",
        "training.device=cpu",
    )
]
