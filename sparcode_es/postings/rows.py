"""One code after another: its postings on the grid, as an artifact keeps them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from sparcode_es.codes import ItemCodes
from sparcode_es.config import PostingsConfig
from sparcode_es.errors import ArtifactError
from sparcode_es.postings.grid import from_grid, to_grid
from sparcode_es.postings.prune import best
from sparcode_es.postings.runs import Runs
from sparcode_es.postings.score import CodeScorer, score_blocks


@dataclass(frozen=True)
class CodePostings:
    """The postings of one code, and what rounding cost at most, relatively."""

    items: np.ndarray
    """uint32 [n], ascending"""
    grid: np.ndarray
    """uint16 [n]"""
    error: float


def scored_postings(
    scorer: CodeScorer, codes: np.ndarray, bias: np.float32, config: PostingsConfig, most: int | None, folder: Path
) -> Iterator[CodePostings]:
    """The positive scores of each code of uint32 [C, 1 + M], the best `most` of them. `error` is that of all codes together.

    folder: where they lie, 6 bytes each, until all items are scored; nothing is left behind.
    """
    if not len(codes):
        return
    error = 0.0
    with Runs(folder, len(codes)) as runs, _progress(scorer.num_items) as progress:
        for code, item, scores in score_blocks(scorer, codes, config):
            places = np.flatnonzero(scores > -bias)  # Eq. 15: S + b > 0
            exact = scores.reshape(-1)[places] + bias
            grid = to_grid(exact)
            error = max(error, _rounding(grid, exact))
            places, grid = places[grid > 0], grid[grid > 0]
            runs.add(code + places // scores.shape[1], item + places % scores.shape[1], grid)
            progress.update(item + scores.shape[1] - progress.n)
        yield from (CodePostings(*_best_of(items, grid, most), error) for items, grid in runs)


def _progress(items: int) -> Any:
    return tqdm(total=items, desc="scoring items", unit="item", disable=None)


def remembered_postings(remembered: ItemCodes, rows: Iterable[int], most: int | None) -> Iterator[CodePostings]:
    """The postings of some codes of items, by their rows: their scores as they are, the best `most` of them."""
    if not np.isfinite(remembered.scores).all():
        raise ArtifactError(
            "the model's scores of item or repeat codes are not finite; the model is damaged, train it again"
        )
    for row in rows:
        part = slice(int(remembered.offsets[row]), int(remembered.offsets[row + 1]))
        exact = remembered.scores[part]
        yield _kept(remembered.items[part], exact, to_grid(exact), most)


def _kept(numbers: np.ndarray, exact: np.ndarray, grid: np.ndarray, most: int | None) -> CodePostings:
    """The best `most` that the grid can hold."""
    stored = np.flatnonzero(grid)
    items, kept = _best_of(numbers[stored].astype(np.uint32), grid[stored], most)
    return CodePostings(items, kept, _rounding(grid, exact))


def _best_of(items: np.ndarray, grid: np.ndarray, most: int | None) -> tuple[np.ndarray, np.ndarray]:
    if most is None or len(items) <= most:
        return items, grid
    places = best(grid, most)
    return items[places], grid[places]


def _rounding(grid: np.ndarray, exact: np.ndarray) -> float:
    """The largest relative error of what the grid can hold."""
    stored = grid > 0
    return float(np.abs(from_grid(grid[stored]) / exact[stored].astype(np.float64) - 1).max(initial=0))
