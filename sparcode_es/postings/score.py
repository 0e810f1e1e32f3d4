"""(code, item) scores in blocks, and the global bias that cuts a stated share of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import numpy as np

from sparcode_es.codes import ItemCodes, of_items, term_of
from sparcode_es.config import PostingsConfig
from sparcode_es.errors import ArtifactError

BUCKET_BITS = 20
"""A pass for the bias counts scores in at most 2^20 buckets."""
SAMPLE_PAIRS, SAMPLE_SLICES = 1 << 21, 32
"""Pairs, and ranges of items, of the sample that the bias is looked for with."""
KEYS = 0x7F_FFFF, 0xFF80_0001
"""The key of -∞, and the one behind that of ∞: see `_keys`."""


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
        """Every possible code but those of items, uint32 [C, 1 + M]."""
        ...

    @property
    def item_codes(self) -> ItemCodes | None:
        """The scores of the codes of items; None for a model without them."""
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
    """ReLU(S + b) of Eq. 15 for any codes uint32 [C, 1 + M], and the scores of codes of items as they are; float32 [C, I]."""
    found = np.zeros((len(codes), scorer.num_items), dtype=np.float32)
    is_item = of_items(codes)
    if not is_item.all():
        scored = scorer.score_codes(codes[~is_item], slice(0, scorer.num_items))
        found[~is_item] = np.maximum(scored + np.float32(bias), 0)
    remembered = scorer.item_codes
    if remembered is not None:
        for row, place in zip(np.flatnonzero(is_item), remembered.rows(codes[is_item]).tolist(), strict=True):
            part = slice(int(remembered.offsets[place]), int(remembered.offsets[place + 1]))
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

    Exact but for equal scores. A sample of the items says between which scores the largest S that must go lies, and one pass
    over all scores finds it there; where it does not, or the bracket is wide, another pass does. Memory does not grow with
    codes or items.
    """
    pairs = len(codes) * scorer.num_items
    # The number of pairs that go; the bias is the negative of the largest S among them.
    cut = round(sparsity * pairs)
    if cut == 0:
        lowest = min((float(scores.min()) for _, _, scores in score_blocks(scorer, codes, config)), default=0.0)
        return float(np.nextafter(np.float32(-lowest), np.float32(np.inf)))
    low, high = _bracket(scorer, codes, cut / pairs)
    while True:
        shift = max(0, (high - low - 1).bit_length() - BUCKET_BITS)
        below, counts = _count_between(scorer, codes, config, low, high, shift)
        if cut <= below:
            low, high = KEYS[0], low
        elif cut > below + int(counts.sum()):
            low, high = high, KEYS[1]
        else:
            bucket = int(np.searchsorted(np.cumsum(counts), cut - below))
            low, high = low + (bucket << shift), min(low + (bucket + 1 << shift), high)
            if shift == 0:
                return -_score_of(low)


def _bracket(scorer: CodeScorer, codes: np.ndarray, share: float) -> tuple[int, int]:
    """Keys low ≤ … < high between which the quantile of all scores very likely lies, from a sample of the items."""
    width = max(1, SAMPLE_PAIRS // (SAMPLE_SLICES * len(codes)))
    starts = range(0, scorer.num_items, max(width, -(-scorer.num_items // SAMPLE_SLICES)))
    slices = [slice(start, min(start + width, scorer.num_items)) for start in starts]
    found = np.concatenate([np.asarray(scorer.score_codes(codes, items), np.float32).reshape(-1) for items in slices])
    # Scores of one item depend on each other: the items count, not the pairs.
    margin = 4 * (share * (1 - share) * len(codes) / len(found)) ** 0.5
    with np.errstate(invalid="ignore"):  # a score that is not finite is found, and named, by the pass over all of them
        ends = np.quantile(found, np.clip([share - margin, share + margin], 0, 1)).astype(np.float32)
    low, high = _keys(ends).tolist()
    return (low if share > margin else KEYS[0]), (high + 1 if share + margin < 1 else KEYS[1])


def _count_between(
    scorer: CodeScorer, codes: np.ndarray, config: PostingsConfig, low: int, high: int, shift: int
) -> tuple[int, np.ndarray]:
    """How many scores have a key below `low`, and how many of those from there to `high` - 1 have each key, its last `shift`
    bits cut off."""
    first, last = np.float32(_score_of(low)), np.float32(_score_of(high - 1))
    below, counts = 0, np.zeros((high - low - 1 >> shift) + 1, dtype=np.int64)
    waiting: list[np.ndarray] = []
    held = 0
    for _, _, scores in score_blocks(scorer, codes, config):
        below += int(np.count_nonzero(scores < first))
        keys = _keys(scores[(scores >= first) & (scores <= last)])
        below += int(np.count_nonzero(keys < low))  # -0 equals 0, but its key is smaller
        waiting.append(keys[(keys >= low) & (keys < high)] - low >> shift)
        held += len(waiting[-1])
        if held >= len(counts):
            counts += np.bincount(np.concatenate(waiting), minlength=len(counts))
            waiting, held = [], 0
    return below, counts + np.bincount(np.concatenate([*waiting, np.zeros(0, np.int64)]), minlength=len(counts))


def _keys(scores: np.ndarray) -> np.ndarray:
    """float32 [...] → int64 [n], flat, in the same order as the scores: 0 … 2^32 - 1."""
    bits = np.ascontiguousarray(scores).reshape(-1).view(np.uint32).astype(np.int64)
    keys: np.ndarray = np.where(bits >> 31, 0xFFFF_FFFF - bits, bits + 0x8000_0000)
    return keys


def _score_of(key: int) -> float:
    """The score of a key of `_keys`."""
    bits = key - 0x8000_0000 if key >= 0x8000_0000 else 0xFFFF_FFFF - key
    return float(np.array([bits], dtype=np.uint32).view(np.float32)[0])
