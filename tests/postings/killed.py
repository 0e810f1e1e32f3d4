"""A build that tells where it is, for the test that kills it there. Not a test module."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

from conftest import FakeScorer, parts
from sparcode_es.config import PostingsConfig
from sparcode_es.postings import build


class SlowScorer(FakeScorer):
    """Waits at each block."""

    def score_codes(self, codes: np.ndarray, items: slice) -> np.ndarray:
        print("scoring", flush=True)
        time.sleep(0.05)
        return super().score_codes(codes, items)


def wait_at(name: str) -> None:
    """Make a step of the build say its name and wait before it begins."""
    step = getattr(build, name)

    def slow(*args: object) -> object:
        print(name, flush=True)
        time.sleep(0.5)
        return step(*args)

    setattr(build, name, slow)


if __name__ == "__main__":
    for step in ("prune", "write_users", "write_manifest"):
        wait_at(step)
    scorer = SlowScorer(seed=2, model_hash="new")
    config = PostingsConfig(block_codes=2, max_codes_per_item=2)
    build.build_postings(scorer, Path(sys.argv[1]), config=config, **parts(scorer))
