"""What of the scores becomes a posting."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from sparcode_es.config.checks import require


@dataclass(frozen=True)
class PostingsConfig:
    """What of the (code, item) scores is kept (Eq. 15, §4.4)."""

    bias: float | None = None
    """b̃ of Eq. 15; None is the model's own b."""
    sparsity: float | None = None
    """Cut this share of all pairs, as `cut` says; excludes `bias`. Item codes' postings are not counted, nor cut."""
    cut: Literal["bias", "traffic"] = "bias"
    """How `sparsity` is reached. `bias`: b̃ of Eq. 15, found so that all smaller S go. `traffic`: the pairs stay that the best
    items of users are made of; where those are fewer, the largest scores of what is left."""
    traffic_users: int = 20_000
    """How many users' best items `traffic` looks at, at most."""
    traffic_items: int = 50
    """How many best items of each: as many as are asked for."""
    traffic_test: bool = False
    """Whether `traffic` looks at histories with their test events: right for service, where users ask with them, and not for what
    is measured on the test split."""
    max_postings_per_code: int | None = None
    max_codes_per_item: int | None = None
    min_codes_per_item: int = 0
    """A floor: neither a maximum nor `traffic` takes an item's best n positive codes. What a bias cuts is not positive."""
    observed_codes_only: bool | None = None
    """Leave out codes that no user has; None means: when M ≥ 2."""
    block_codes: int = 64
    block_items: int = 65_536

    def __post_init__(self) -> None:
        require(self.bias is None or self.sparsity is None, "give bias or sparsity, not both")
        require(self.bias is None or math.isfinite(self.bias), f"bias must be a finite number, not {self.bias}")
        require(self.traffic_users >= 1 and self.traffic_items >= 1, "traffic_users and traffic_items must be positive")
        require(self.cut == "bias" or self.sparsity is not None, f"cut '{self.cut}' needs a sparsity to reach")
        require(self.cut == "traffic" or not self.traffic_test, "traffic_test needs cut 'traffic'")
        require(self.sparsity is None or 0 <= self.sparsity < 1, "sparsity must lie in [0, 1)")
        for name in ("max_postings_per_code", "max_codes_per_item"):
            value = getattr(self, name)
            require(value is None or value >= 1, f"{name} must be at least 1")
        require(self.min_codes_per_item >= 0, "min_codes_per_item must not be negative")
        capped = self.max_postings_per_code is not None or self.max_codes_per_item is not None
        require(
            self.cut == "traffic" or capped or self.min_codes_per_item == 0,
            "min_codes_per_item keeps nothing that a bias cuts, whose scores are not positive; use cut 'traffic', or a maximum",
        )
        require(self.block_codes >= 1 and self.block_items >= 1, "block sizes must be at least 1")
