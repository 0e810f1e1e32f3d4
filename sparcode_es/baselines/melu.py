"""MeLU (Lee et al. 2019): weights learned so that a gradient step on a few events makes them a user's own."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sparcode_es.baselines.maml import Decision, Weights, adapted
from sparcode_es.baselines.tasks import Items, labelled, split_batch
from sparcode_es.data.dataset import Cases, ScoreFunction
from sparcode_es.models.base import RankingModel
from sparcode_es.models.batches import Batch
from sparcode_es.models.features import FeatureEncoder, inputs
from sparcode_es.models.few import latest_events
from sparcode_es.models.losses import NegativeSampler

BLOCK = 1 << 24
"""Hidden units computed at once where all items are scored."""


class MeLU(RankingModel):
    """logit(u, i) = decision(user features, item features; θ_u), θ_u one local step away from the global θ.

    The paper regresses on ratings; here an event has label 1, a random item 0, and the loss is the cross-entropy. A user
    without a history is ranked with θ itself. Embeddings are normalised (layer norm), as features come in any scale.
    """

    def build(self) -> None:
        """Make the layers."""
        settings = self.settings = self.config.melu
        self.user_encoder = FeatureEncoder("user", self.user_specs, self.num_users, settings.dim, persistent=False)
        self.item_encoder = FeatureEncoder("item", self.item_specs, self.num_items, settings.dim)
        has_ids = not inputs(self.item_specs) if settings.item_ids is None else settings.item_ids
        self.item_embedding = nn.Embedding(self.num_items, settings.dim) if has_ids else None
        self.user_norm, self.item_norm = nn.LayerNorm(settings.dim), nn.LayerNorm(settings.dim)
        self.decision = Decision(settings.dim, settings.hidden)

    def users(self, users: Tensor) -> Tensor:
        """users: int64 [...], -1 for unknown → embeddings [..., D]."""
        found: Tensor = self.user_norm(self.user_encoder(users))
        return found

    def items(self, items: Tensor) -> Tensor:
        """items: int64 [...] → embeddings [..., D]."""
        content = self.item_encoder(items)
        found: Tensor = self.item_norm(content if self.item_embedding is None else content + self.item_embedding(items))
        return found

    def task_loss(self, users: Tensor, sets: Items, tail: Weights) -> Tensor:
        """Each user's mean cross-entropy, summed over users. users: [B, D]."""
        logits = self.decision(users, self.items(sets.items), tail)
        losses = F.binary_cross_entropy_with_logits(logits, sets.labels, reduction="none")
        return (losses * sets.weights).sum()

    def local_weights(self, users: Tensor, support: Items, differentiable: bool) -> list[Tensor]:
        """θ_u of B users: the last decision layers' weights and biases, adapted to the support sets, [B, …]."""
        start = [weight.expand(len(users), *weight.shape) for weight in self.decision.last(self.settings.local_layers)]
        if not differentiable:
            start = [weight.detach().requires_grad_() for weight in start]
        steps, rate = self.settings.local_steps, self.settings.local_learning_rate
        return adapted(start, lambda tail: self.task_loss(users, support, tail), steps, rate, differentiable)

    def loss(self, batch: Batch, sampler: NegativeSampler) -> Tensor:
        """The meta-update's: the query sets' loss with the weights that the support sets gave, the mean over users."""
        support, known, query, asked = split_batch(batch, self.settings)
        users = self.users(batch.users)
        tail = self.local_weights(users, labelled(support, known, self._random(support)), differentiable=True)
        return self.task_loss(users, labelled(query, asked, self._random(query)), tail) / len(users)

    def _random(self, positives: Tensor) -> Tensor:
        """`negatives` items for each event of [B, n], int64 [B, n · negatives]."""
        shape = (len(positives), positives.shape[1] * self.settings.negatives)
        return torch.randint(self.num_items, shape, device=positives.device)

    @torch.no_grad()
    def case_scores(self, cases: Cases) -> ScoreFunction:
        """The logits with the weights adapted to each case's latest events; the same random items for every case."""
        device = self.decision.last(1)[0].device
        items = self.items(torch.arange(self.num_items, device=device))
        generator = torch.Generator().manual_seed(self.config.training.seed)
        count = self.settings.support * self.settings.negatives
        negatives = torch.randint(self.num_items, (1, count), generator=generator)
        events, there = latest_events(cases.history_offsets, cases.history_items, self.settings.support)

        def scores(rows: np.ndarray) -> np.ndarray:
            support = torch.from_numpy(events[rows].astype(np.int64))
            sets = labelled(support, torch.from_numpy(there[rows] > 0), negatives.expand(len(rows), -1))
            return self._score_all(torch.from_numpy(cases.users[rows].astype(np.int64)), sets, items)

        return scores

    def _score_all(self, users: Tensor, support: Items, items: Tensor) -> np.ndarray:
        """users: int64 [B], items: embeddings of all [I, D] → [B, I] on the CPU, some users at a time."""
        size = max(1, BLOCK // (len(items) * max(self.settings.hidden, default=1)))
        found = []
        for rows in torch.arange(len(users)).split(size):
            embedded = self.users(users[rows].to(items.device)).detach()
            part = Items(*(t[rows].to(items.device) for t in (support.items, support.labels, support.weights)))
            tail = self.local_weights(embedded, part, differentiable=False)
            with torch.no_grad():
                found.append(self.decision(embedded, items, tail).float().cpu())
        return torch.cat(found).numpy()
