"""Support and query sets of MeLU's tasks, from batches of histories."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sparcode_es.config import MeLUConfig
from sparcode_es.models.batches import Batch


@dataclass(frozen=True)
class Items:
    """Items of B users with labels: items int64 [B, n]; labels float [B, n]; weights [B, n], 0 where there is none."""

    items: Tensor
    labels: Tensor
    weights: Tensor


def split_batch(batch: Batch, config: MeLUConfig) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Each window cut at a random trained position: the events up to it, latest first, int64 [B, support], whether each is
    there, bool; and those after it, int64 [B, query], with theirs. A cold user's support set is withheld.

    A batch of users alone is cut likewise, its targets being the events."""
    first = 0
    if batch.rows is not None:
        batch, first = _in_sequence(batch, batch.rows), 1
    B, L = batch.histories.shape
    following = torch.full((B * L,), -1, device=batch.histories.device)
    following[batch.positions] = batch.targets
    following = following.view(B, L)
    cut = (following >= 0).float().multinomial(1)  # [B, 1]
    before = cut - torch.arange(config.support, device=cut.device)
    cold = torch.rand(B, 1, device=cut.device) < config.cold_share
    after = cut + torch.arange(config.query, device=cut.device)
    query = following.gather(1, after.clamp(max=L - 1))
    asked = (after < L) & (query >= 0)
    support = batch.histories.gather(1, before.clamp(min=0))
    return support, (before >= first) & ~cold, query.clamp(min=0), asked


def _in_sequence(batch: Batch, rows: Tensor) -> Batch:
    """Users with their targets, rows in ascending order → a window each: no event, then the targets but the last."""
    lengths = torch.bincount(rows, minlength=len(batch.users))
    place = torch.arange(len(rows), device=rows.device) - (lengths.cumsum(0) - lengths)[rows]
    histories = torch.zeros(len(lengths), int(lengths.max()) + 1, dtype=torch.int64, device=rows.device)
    histories[rows, place + 1] = batch.targets
    histories = histories[:, :-1]
    return Batch(histories, rows * histories.shape[1] + place, batch.targets, batch.users)


def labelled(positives: Tensor, there: Tensor, negatives: Tensor) -> Items:
    """Events int64 [B, n] with label 1, where `there`, and r others for each, int64 [B, n·r], with label 0.

    A user's weights sum to 1, or to 0 for a user without events.
    """
    ratio = negatives.shape[1] // positives.shape[1]
    weights = torch.cat([there, there.repeat_interleave(ratio, dim=1)], dim=1).float()
    labels = torch.cat([torch.ones_like(positives), torch.zeros_like(negatives)], dim=1).float()
    return Items(torch.cat([positives, negatives], dim=1), labels, weights / weights.sum(1, keepdim=True).clamp(min=1))
