"""What is fuzzed: a target damages a seed with a generator and reads it as a user's command would.

A case is accepted (it returns) or refused (`SparcodeError`, click's usage error, an HTTP status below 500); anything else is a
defect.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from mutation import entry_points, files, models

Run = Callable[[random.Random, Path, Path], None]
TARGETS: dict[str, Run] = {
    "csv, tsv": files.tables,
    "parquet": files.parquet,
    "sequences": files.sequences,
    "movielens": files.movielens,
    "side tables": files.sides,
    "deezer, vectors": files.deezer,
    "data folder": files.data_folder,
    "artifact": files.artifact,
    "training folder": files.training,
    "checkpoint": models.checkpoint,
    "encoder": models.encoder,
    "configuration": models.configuration,
    "http requests": entry_points.requests,
    "command line": entry_points.command_line,
    "answers": entry_points.answers,
}


def generator(target: str, seed: int) -> random.Random:
    """The case's own: the same for a target and a seed, whatever ran before."""
    return random.Random(f"{target}:{seed}")


def run_case(target: str, seed: int, seeds: Path, work: Path) -> None:
    """One case, here and now."""
    TARGETS[target](generator(target, seed), seeds, work)
