"""DeezerNet (Briand et al. 2021): regression from a new user's features to the embedding that a warm user would have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from sparcode_es.baselines.latents import Latents
from sparcode_es.baselines.nets import SideNet
from sparcode_es.baselines.segments import Segments
from sparcode_es.data.dataset import Cases, ScoreFunction, Sequences
from sparcode_es.data.manifest import Side
from sparcode_es.errors import ConfigError
from sparcode_es.models.base import RankingModel
from sparcode_es.models.batches import Batch
from sparcode_es.models.features import inputs
from sparcode_es.models.losses import NegativeSampler


class DeezerNet(RankingModel):
    """û = net(features) of length 1. Full-personalised: score = <û, V_i>. Semi-personalised: the share of item i among the
    events of the segment of warm users that û falls into."""

    reads_targets = True

    def build(self) -> None:
        """Make the layers."""
        config = self.config
        settings = config.deezernet
        self.latents = Latents(config.latents, self.num_users, self.num_items, self.user_specs, self.item_specs)
        history = config.tokenizer.source == "history"
        reads = history and not self.latents.from_features if settings.history is None else settings.history
        if reads and not history:
            raise ConfigError(
                "deezernet reads the history here, and tokenizer.source = 'features' leaves it out of the training; "
                "set deezernet.history = false, or tokenizer.source = 'history'"
            )
        self.reads_history = reads
        if not self.reads_history and not inputs(self.user_specs):
            raise ConfigError(
                "deezernet predicts from users' features, and the data folder has none to read; import it with user "
                "features, or set deezernet.history = true"
            )
        dim = self.latents.dim
        latent = dim if self.reads_history else 0
        self.net = SideNet("user", self.user_specs, self.num_users, latent, settings.hidden, dim, "relu_norm")
        self.segments = Segments(settings.segments, settings.segment_items, dim, self.num_items)

    def load_features(self, tables: Mapping[Side, Mapping[str, np.ndarray]]) -> None:
        """The inputs and, where the data folder has them, the latents."""
        super().load_features(tables)
        self.latents.load_tables(tables)

    def prepare(self, sequences: Sequences) -> None:
        """The latents, where they come from the interactions, and the segments of the users who have one."""
        self.latents.prepare(sequences, self.config.training.seed)
        rows = torch.from_numpy(sequences.users.astype(np.int64))
        warm = self.latents.users[rows.to(self.latents.users.device)].any(1).cpu().numpy()
        if not warm.any():
            raise ConfigError("deezernet learns from users who have events and a latent, and no training user has both")
        kept = sequences.take(np.flatnonzero(warm))
        users = self.latents.users[torch.from_numpy(kept.users.astype(np.int64)).to(self.latents.users.device)]
        self.segments.fit(users, kept, self.config.deezernet.kmeans_iterations)

    def loss(self, batch: Batch, sampler: NegativeSampler) -> Tensor:
        """The mean squared error of û against the warm users' latents."""
        if self.reads_history:
            users, histories = batch.users[batch.positions // batch.histories.shape[1]], self.latents.of_prefixes(batch)
        else:
            users, histories = batch.users.unique(), None
        wanted = self.latents.users[users]
        warm = wanted.any(1, keepdim=True)
        errors = (F.normalize(self.net(users, histories), dim=-1) - wanted).square() * warm
        return errors.sum() / (warm.sum().clamp(min=1) * self.latents.dim)

    def predict(self, cases: Cases) -> Tensor:
        """û of the cases' users, [n, d], on the CPU."""
        histories = (
            self.latents.of_histories(cases.history_offsets, cases.history_items) if self.reads_history else None
        )
        return F.normalize(self.net.evaluate(torch.from_numpy(cases.users.astype(np.int64)), histories), dim=-1)

    def case_scores(self, cases: Cases, form: Literal["full", "semi"] | None = None) -> ScoreFunction:
        """In the form that the configuration names, or another one of the same training."""
        device = self.latents.items.device
        users = self.predict(cases).to(device)
        if (form or self.config.deezernet.form) == "full":
            items = self.latents.items
            return lambda rows: (users[torch.from_numpy(rows).to(device)] @ items.T).cpu().numpy()
        segments = self.segments.nearest(users)
        return lambda rows: self.segments.scores(segments[torch.from_numpy(rows).to(segments.device)])
