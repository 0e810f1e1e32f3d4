"""Where the benchmarks are, flags of a training that takes a second, and data folders from a few lines."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner
from sparcode_es_cli.main import cli

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


def import_sequences(log: Path, out: Path, *flags: str) -> Path:
    """Import a log of lines `user item item …`; gives the data folder."""
    done = CliRunner().invoke(cli, ["data", "import", str(log), "--format", "sequences", "--out", str(out), *flags])
    assert done.exit_code == 0, done.output
    return out
