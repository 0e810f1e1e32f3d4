"""Popularity: every user gets the items that most training events have."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sparcode_es.config import Config
from sparcode_es.data.dataset import Cases, Dataset, ScoreFunction, Sequences
from sparcode_es.models.base import RankingModel
from sparcode_es.models.batches import Batch
from sparcode_es.models.losses import NegativeSampler


class Popularity(RankingModel):
    """Counts of the training events, the same ranking for everybody. Nothing is learned by gradient."""

    counts: Tensor

    def build(self) -> None:
        """Make the layers."""
        self.register_buffer("counts", torch.zeros(self.num_items))

    def prepare(self, sequences: Sequences) -> None:
        """Count the items."""
        self.counts.copy_(torch.from_numpy(np.bincount(sequences.items, minlength=self.num_items)))

    def loss(self, batch: Batch, sampler: NegativeSampler) -> Tensor:
        """0: there are no weights."""
        return torch.zeros(())

    def case_scores(self, cases: Cases) -> ScoreFunction:
        """The counts, for every case."""
        counts = self.counts.cpu().numpy()
        return lambda rows: np.broadcast_to(counts, (len(rows), len(counts)))


def popularity(config: Config, dataset: Dataset) -> Popularity:
    """The counts of a data folder's training events."""
    model = Popularity(config, dataset.num_items)
    model.prepare(dataset.train_sequences())
    return model
