"""A small artifact with everything that an inspection can meet. Not a test module."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sparcode_es.codes import ITEM_HEAD, ItemCodes, UserCodes
from sparcode_es.postings.artifact import Artifact
from sparcode_es.postings.build import build_postings
from sparcode_es.tables import StringTable

ITEMS, CODES, USERS = 150, 20, 14
TITLES = ["Star Wars", "Évil \x1b[31mred\u202e", "東京物語", None, "Two\nlines"]


class Scorer:
    """Scores of many sizes. Items from 140 on have none, code 19 has none, nobody has the codes 17 and 18."""

    num_items, num_possible_codes, shared_heads, bias = ITEMS, CODES, True, -0.2
    codebook_hash = "beef02"
    item_codes = ItemCodes(
        np.minimum(np.arange(ITEMS + 1) * 3, 300),
        np.tile([1, 5, 11], 100).astype(np.uint32),
        np.tile([0.7, 2.3, 0.09], 100).astype(np.float32),
    )

    def __init__(self, seed: int = 0, model: str = "feed01") -> None:
        rng = np.random.default_rng(seed)
        self.table = (rng.normal(size=(CODES, ITEMS)) * np.exp(rng.normal(size=(CODES, 1)))).astype(np.float32)
        self.table[3] = np.round(self.table[3] * 2) / 2  # many ties
        self.table[:, 140:] = -1
        self.table[19] = -1
        self.model_hash = model

    def all_codes(self) -> np.ndarray:
        return np.stack([np.zeros(CODES), np.arange(CODES)], axis=1).astype(np.uint32)

    def score_codes(self, codes: np.ndarray, items: slice) -> np.ndarray:
        return self.table[codes[:, 1]][:, items]


class Seen:
    offsets = np.concatenate([np.arange(0, 5 * (USERS - 1) + 1, 5), [5 * (USERS - 1)]]).astype(np.uint64)
    items = (np.arange(5 * (USERS - 1)) * 7 % 130).astype(np.uint32)


def make_shelf(folder: Path, scorer: Scorer | None = None, attribute: str = "1999") -> Artifact:
    """Users `user 0` … `user 12` have six codes each, the third an item code; `user 13` has none and has seen nothing."""
    owners = USERS - 1
    codes = Scorer().all_codes()[np.ravel([(np.arange(6) * 3 + u) % 17 for u in range(owners)])]
    codes[2::6, 0], codes[2::6, 1] = ITEM_HEAD, np.arange(owners) * 2
    boosts = np.random.default_rng(9).random(6 * owners) ** 3 + 0.01
    return build_postings(
        scorer or Scorer(),
        folder,
        item_ids=StringTable.build(f"{'éa_Z'[i % 4]}{i}" for i in range(ITEMS)),
        item_docs=[
            {
                "title": TITLES[i % 5] if i % 5 else f"Title {i}",
                "attributes": {"genre": ["x", "y"] if i % 3 else ["x"], "year": attribute if i == 7 else "1980"},
            }
            for i in range(ITEMS)
        ],
        user_ids=StringTable.build(f"user {u}" for u in range(USERS)),
        user_codes=UserCodes(
            np.array([*range(0, 6 * owners + 1, 6), 6 * owners], np.uint64), codes, boosts.astype(np.float32)
        ),
        user_seen=Seen(),
    )
