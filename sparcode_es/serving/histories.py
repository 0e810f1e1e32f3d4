"""What every encoder of histories does before and after the model: item ids → numbers, codes → a user's codes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sparcode_es import csr
from sparcode_es.codes import LatestItems, UserCodes, item_code_rows, unique_codes
from sparcode_es.errors import NotFoundError
from sparcode_es.models.few import latest_events
from sparcode_es.tables import StringTable


def item_numbers(item_ids: StringTable, items: Sequence[str]) -> np.ndarray:
    """Item ids → item numbers, uint32 [n]. Raises `NotFoundError` naming the unknown ones, and for an empty history."""
    found = [item_ids.find(item) for item in items]
    unknown = [item for item, number in zip(items, found, strict=True) if number is None]
    if unknown:
        shown = ", ".join(repr(item) for item in unknown[:5]) + (" …" if len(unknown) > 5 else "")
        raise NotFoundError(f"the model does not know {len(unknown)} of the history's items: {shown}; leave them out")
    if not items:
        raise NotFoundError("the history is empty; give at least one item id")
    return np.array(found, dtype=np.uint32)


def with_item_codes(
    kinds: Sequence[LatestItems], offsets: np.ndarray, items: np.ndarray, codes: np.ndarray, boosts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The codes of n histories in CSR form, [n, R, 1 + M], and their boosts, [n, R], with those of the latest items beside
    them."""
    all_codes, all_boosts = [codes], [boosts]
    for kind in kinds:
        latest, weights = latest_events(offsets, items, kind.latest, kind.decay)
        all_codes.append(item_code_rows(latest, codes.shape[-1] - 1, kind.head))
        all_boosts.append(weights)
    return np.concatenate(all_codes, axis=1), np.concatenate(all_boosts, axis=1)


def merge_codes(codes: np.ndarray, boosts: np.ndarray, users: np.ndarray, num_users: int) -> UserCodes:
    """Add up the boosts that a user has on one code; leave out boosts of 0. codes: [n, R, 1 + M], boosts: [n, R]."""
    positive = boosts > 0
    owner = np.broadcast_to(users[:, None], boosts.shape)[positive].astype(np.uint32)
    keyed = np.column_stack([owner, codes[positive]]).astype(np.uint32)
    distinct, inverse = unique_codes(keyed)
    total = np.bincount(inverse, weights=boosts[positive], minlength=len(distinct)).astype(np.float32)
    counts = np.bincount(distinct[:, 0], minlength=num_users)
    return UserCodes(csr.offsets_of(counts), distinct[:, 1:], total)
