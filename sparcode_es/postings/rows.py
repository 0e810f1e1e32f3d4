"""One code after another: its postings on the grid, as an artifact keeps them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from sparcode_es.codes import ItemCodes
from sparcode_es.config import PostingsConfig
from sparcode_es.errors import ArtifactError
from sparcode_es.postings.grid import from_grid, to_grid
from sparcode_es.postings.prune import best
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
    scorer: CodeScorer, codes: np.ndarray, bias: np.float32, config: PostingsConfig, most: int | None
) -> Iterator[CodePostings]:
    """The positive scores of each code of uint32 [C, 1 + M], the best `most` of them."""
    waiting: list[tuple[int, np.ndarray, np.ndarray]] = []
    for _, first_item, scores in score_blocks(scorer, codes, config):
        exact = np.maximum(scores + bias, 0)  # Eq. 15
        waiting.append((first_item, exact, to_grid(exact)))
        if first_item + exact.shape[1] == scorer.num_items:
            yield from (_joined(waiting, row, most) for row in range(len(exact)))
            waiting.clear()


def remembered_postings(remembered: ItemCodes, rows: Iterable[int], most: int | None) -> Iterator[CodePostings]:
    """The postings of some item codes: their scores as they are, the best `most` of them."""
    if not np.isfinite(remembered.scores).all():
        raise ArtifactError("the model's scores of item codes are not finite; the model is damaged, train it again")
    for row in rows:
        part = slice(int(remembered.offsets[row]), int(remembered.offsets[row + 1]))
        exact = remembered.scores[part]
        yield _kept(remembered.items[part], exact, to_grid(exact), most)


def _joined(waiting: list[tuple[int, np.ndarray, np.ndarray]], row: int, most: int | None) -> CodePostings:
    """One code's postings from the blocks of items."""
    places = [np.flatnonzero(grid[row]) for _, _, grid in waiting]
    numbers = np.concatenate([first + place for (first, _, _), place in zip(waiting, places, strict=True)])
    exact = np.concatenate([exact[row][place] for (_, exact, _), place in zip(waiting, places, strict=True)])
    grid = np.concatenate([grid[row][place] for (_, _, grid), place in zip(waiting, places, strict=True)])
    return _kept(numbers, exact, grid, most)


def _kept(numbers: np.ndarray, exact: np.ndarray, grid: np.ndarray, most: int | None) -> CodePostings:
    """The best `most` that the grid can hold."""
    stored = np.flatnonzero(grid)
    error = float(np.abs(from_grid(grid[stored]) / exact[stored].astype(np.float64) - 1).max(initial=0))
    kept = stored if most is None else np.intersect1d(best(grid, most), stored)
    return CodePostings(numbers[kept].astype(np.uint32), grid[kept], error)
