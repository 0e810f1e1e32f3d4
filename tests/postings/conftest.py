"""A small model in numpy, and artifacts built from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparcode_es.codes import ItemCodes, UserCodes
from sparcode_es.config import PostingsConfig
from sparcode_es.postings.artifact import Artifact
from sparcode_es.postings.build import build_postings
from sparcode_es.tables import StringTable


@dataclass
class FakeScorer:
    """A CodeScorer: a table of random scores for N^M codes, and of item codes where there are any."""

    num_items: int = 37
    N: int = 4
    M: int = 1
    seed: int = 0
    bias: float = -0.25
    shared_heads: bool = True
    model_hash: str = "feed01"
    codebook_hash: str = "beef02"
    item_codes: ItemCodes | None = None
    scores: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.scores = np.random.default_rng(self.seed).normal(size=(self.N**self.M, self.num_items)).astype(np.float32)

    @property
    def num_possible_codes(self) -> int:
        return self.N**self.M

    def all_codes(self) -> np.ndarray:
        index = np.arange(self.N**self.M)
        columns = [np.zeros_like(index)] + [index // self.N ** (self.M - 1 - m) % self.N for m in range(self.M)]
        return np.stack(columns, axis=1).astype(np.uint32)

    def score_codes(self, codes: np.ndarray, items: slice) -> np.ndarray:
        powers = np.array([self.N ** (self.M - 1 - m) for m in range(self.M)])
        return self.scores[codes[:, 1:].astype(np.int64) @ powers, items]


@dataclass(frozen=True)
class Seen:
    offsets: np.ndarray
    items: np.ndarray


def parts(scorer: FakeScorer, users: int = 5, seed: int = 1) -> dict[str, Any]:
    """What `build_postings` needs beside the model: random users with 0 to 3 codes and 0 to 5 seen items."""
    rng = np.random.default_rng(seed)
    table = scorer.all_codes()
    chosen = [np.sort(rng.permutation(len(table))[: rng.integers(0, 4)]) for _ in range(users)]
    seen = [rng.permutation(scorer.num_items)[: rng.integers(0, 6)] for _ in range(users)]
    rows = np.concatenate(chosen).astype(np.int64)
    offsets = np.cumsum([0, *map(len, chosen)]).astype(np.uint64)
    boosts = (1 + rng.integers(0, 3, len(rows))).astype(np.float32)
    return {
        "item_ids": StringTable.build(f"item {(7 * i) % 101}é" for i in range(scorer.num_items)),
        "item_docs": [
            {"title": f"Title {i}", "attributes": {"genre": ["Comedy", "Drama"] if i % 3 == 0 else "Drama"}}
            for i in range(scorer.num_items)
        ],
        "user_ids": StringTable.build(f"u{u}" for u in range(users)),
        "user_codes": UserCodes(offsets, table[rows], boosts),
        "user_seen": Seen(np.cumsum([0, *map(len, seen)]).astype(np.uint64), np.concatenate(seen).astype(np.uint32)),
    }


Build = Callable[..., Artifact]


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """`build(scorer, sparsity=0.5, …)` → artifact."""

    def make(scorer: FakeScorer | None = None, out: Path | None = None, **settings: Any) -> Artifact:
        scorer = scorer or FakeScorer()
        config = PostingsConfig(**{"block_codes": 3, "block_items": 10, **settings})
        return build_postings(scorer, out or tmp_path / "postings", config=config, **parts(scorer))

    return make


@pytest.fixture
def scorer() -> FakeScorer:
    return FakeScorer()


@pytest.fixture(scope="session")
def make_scorer() -> type[FakeScorer]:
    return FakeScorer
