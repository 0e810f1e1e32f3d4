"""Sampled softmax (Eq. 12) with negatives that the whole batch shares."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from sparcode_es.config import LossConfig


@dataclass(frozen=True)
class Candidates:
    """The distinct items that a batch is scored against.

    items: int64 [n]; log_q: log of each one's probability of being among them, [n]; allowed: whether it was drawn as a
    negative, bool [n]; target: where each position's own item stands, int64 [P].
    """

    items: Tensor
    log_q: Tensor
    allowed: Tensor
    target: Tensor


class NegativeSampler:
    """Draws candidates: uniform samples, the batch's own positives, both (mixed negative sampling, Yang et al. 2020), or all."""

    def __init__(self, config: LossConfig, item_counts: Tensor) -> None:
        self.config = config
        self.num_items = len(item_counts)
        self.share = item_counts / item_counts.sum()

    def drawing(self, num_negatives: int) -> NegativeSampler:
        """The same, with at most this many uniform samples a batch."""
        return NegativeSampler(
            replace(self.config, num_negatives=min(num_negatives, self.config.num_negatives)), self.share
        )

    def draw(self, targets: Tensor) -> Candidates:
        """targets: int64 [P]."""
        kind, device = self.config.negatives, targets.device
        if kind == "all":
            items = torch.arange(self.num_items, device=device)
            return Candidates(
                items, torch.zeros(len(items), device=device), torch.ones_like(items, dtype=torch.bool), targets
            )
        drawn = torch.zeros(self.num_items, dtype=torch.bool, device=device)
        expected = torch.zeros(self.num_items, device=device)
        if kind != "in_batch":
            drawn[torch.randint(self.num_items, (self.config.num_negatives,), device=device)] = True
            expected += self.config.num_negatives / self.num_items
        if kind != "uniform":
            drawn[targets] = True
            expected += len(targets) * self.share
        present = drawn.clone()
        present[targets] = True
        items = present.nonzero().flatten()
        place = torch.zeros(self.num_items, dtype=torch.int64, device=device)
        place[items] = torch.arange(len(items), device=device)
        # The probability that an item with this expected number of draws is drawn at all.
        log_q = torch.log(-torch.expm1(-expected[items].clamp(min=1e-8)))
        return Candidates(items, log_q, drawn[items], place[targets])


def sampled_softmax(scores: Tensor, candidates: Candidates) -> Tensor:
    """-log of Eq. 12's fraction, the mean over positions. scores: [P, n], corrected by logQ (Yi et al. 2019)."""
    logits = scores - candidates.log_q
    if not candidates.allowed.all():
        # Another position's target that was not drawn is no negative here.
        own = torch.zeros_like(scores, dtype=torch.bool).scatter_(1, candidates.target.unsqueeze(1), True)
        logits = torch.where(candidates.allowed | own, logits, -torch.inf)
    return F.cross_entropy(logits.float(), candidates.target)
