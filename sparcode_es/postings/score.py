"""(code, item) scores in blocks, and the global bias that cuts a stated share of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import numpy as np

from sparcode_es.codes import ITEM_HEAD, ItemCodes, term_of
from sparcode_es.config import PostingsConfig
from sparcode_es.errors import ArtifactError

HALF_BITS = 16


class CodeScorer(Protocol):
    """What the postings need of a model."""

    num_items: int

    @property
    def bias(self) -> float:
        """b of Eq. 10."""
        ...

    @property
    def model_hash(self) -> str:
        """Hexadecimal; changes with any weight."""
        ...

    @property
    def codebook_hash(self) -> str:
        """Hexadecimal; changes when any code would mean something else."""
        ...

    @property
    def num_possible_codes(self) -> int:
        """N^M, times the heads that have codebooks of their own."""
        ...

    @property
    def shared_heads(self) -> bool:
        """Whether all heads share their codebooks."""
        ...

    def all_codes(self) -> np.ndarray:
        """Every possible code but item codes, uint32 [C, 1 + M]."""
        ...

    @property
    def item_codes(self) -> ItemCodes | None:
        """The scores of the item codes; None for a model without them."""
        ...

    def score_codes(self, codes: np.ndarray, items: slice) -> np.ndarray:
        """S of Eq. 9, before bias and ReLU: codes uint32 [C, 1 + M] → float32 [C, len(items)]."""
        ...


@runtime_checkable
class TileScorer(Protocol):
    """A `CodeScorer` that scores many codes and all items faster than block by block."""

    def score_tiles(self, codes: np.ndarray, most_codes: int, most_items: int) -> Iterator[tuple[int, int, np.ndarray]]:
        """What `score_blocks` gives, in blocks of at most so many codes and items."""
        ...


def score_blocks(
    scorer: CodeScorer, codes: np.ndarray, config: PostingsConfig
) -> Iterator[tuple[int, int, np.ndarray]]:
    """First code row, first item, S float32 [codes, items] in blocks of at most block_codes and block_items; all codes of
    some items, then the next items.

    Raises `ArtifactError` for a score that is not finite, naming the code and the item.
    """
    if isinstance(scorer, TileScorer):
        blocks = scorer.score_tiles(codes, config.block_codes, config.block_items)
    else:
        blocks = _one_by_one(scorer, codes, config)
    for code, item, scores in blocks:
        _check_finite(scores, codes[code : code + len(scores)], item, scorer.shared_heads)
        yield code, item, scores


def _one_by_one(scorer: CodeScorer, codes: np.ndarray, config: PostingsConfig) -> Iterator[tuple[int, int, np.ndarray]]:
    for item in range(0, scorer.num_items, config.block_items):
        items = slice(item, min(item + config.block_items, scorer.num_items))
        for code in range(0, len(codes), config.block_codes):
            block = codes[code : code + config.block_codes]
            scores = np.asarray(scorer.score_codes(block, items), dtype=np.float32)
            if scores.shape != (len(block), items.stop - item):
                raise ArtifactError(
                    f"the model gave scores of shape {scores.shape}, not {(len(block), items.stop - item)}"
                )
            yield code, item, scores


def sparse_scores(scorer: CodeScorer, codes: np.ndarray, bias: float) -> np.ndarray:
    """ReLU(S + b) of Eq. 15 for any codes uint32 [C, 1 + M], and the scores of item codes as they are; float32 [C, I]."""
    found = np.zeros((len(codes), scorer.num_items), dtype=np.float32)
    is_item = codes[:, 0] == ITEM_HEAD
    if not is_item.all():
        scored = scorer.score_codes(codes[~is_item], slice(0, scorer.num_items))
        found[~is_item] = np.maximum(scored + np.float32(bias), 0)
    remembered = scorer.item_codes
    if remembered is not None:
        for row in np.flatnonzero(is_item):
            item = int(codes[row, 1])
            part = slice(int(remembered.offsets[item]), int(remembered.offsets[item + 1]))
            found[row, remembered.items[part]] = remembered.scores[part]
    return found


def _check_finite(scores: np.ndarray, codes: np.ndarray, first_item: int, shared_heads: bool) -> None:
    with np.errstate(over="ignore", invalid="ignore"):
        total = scores.sum()  # One pass: a number that is not finite makes the sum one, too.
    if not np.isfinite(total) and not np.isfinite(scores).all():
        row, column = np.argwhere(~np.isfinite(scores))[0]
        term = term_of(codes[row], shared_heads)
        raise ArtifactError(
            f"the model's score of code {term} and item number {first_item + column} is {scores[row, column]}; "
            "the model is damaged, train it again"
        )


def bias_for_sparsity(scorer: CodeScorer, codes: np.ndarray, config: PostingsConfig, sparsity: float) -> float:
    """The bias b̃ (Eq. 15) under which this share of the pairs of `codes` and items has S + b̃ ≤ 0.

    Exact but for equal scores: two passes over all scores find the largest S that must go, 16 bits of its order-keeping
    integer key at a time. Memory does not grow with codes or items.
    """
    pairs = len(codes) * scorer.num_items
    # The number of pairs that go; the bias is the negative of the largest S among them.
    cut = round(sparsity * pairs)
    if cut == 0:
        lowest = min((float(scores.min()) for _, _, scores in score_blocks(scorer, codes, config)), default=0.0)
        return float(np.nextafter(np.float32(-lowest), np.float32(np.inf)))
    high = np.zeros(1 << HALF_BITS, dtype=np.int64)
    for _, _, scores in score_blocks(scorer, codes, config):
        high += np.bincount(_keys(scores) >> HALF_BITS, minlength=len(high))
    bucket = int(np.searchsorted(np.cumsum(high), cut))
    before = int(high[:bucket].sum())
    low = np.zeros(1 << HALF_BITS, dtype=np.int64)
    for _, _, scores in score_blocks(scorer, codes, config):
        keys = _keys(scores)
        low += np.bincount(keys[keys >> HALF_BITS == bucket] & (len(low) - 1), minlength=len(low))
    rest = int(np.searchsorted(np.cumsum(low), cut - before))
    return -_score_of(bucket << HALF_BITS | rest)


def _keys(scores: np.ndarray) -> np.ndarray:
    """float32 [...] → int64 [n], flat, in the same order as the scores: 0 … 2^32 - 1."""
    bits = np.ascontiguousarray(scores).reshape(-1).view(np.uint32).astype(np.int64)
    keys: np.ndarray = np.where(bits >> 31, 0xFFFF_FFFF - bits, bits + 0x8000_0000)
    return keys


def _score_of(key: int) -> float:
    """The score of a key of `_keys`."""
    bits = key - 0x8000_0000 if key >= 0x8000_0000 else 0xFFFF_FFFF - key
    return float(np.array([bits], dtype=np.uint32).view(np.float32)[0])
