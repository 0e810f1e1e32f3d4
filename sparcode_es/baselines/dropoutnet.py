"""DropoutNet (Volkovs et al. 2017): nets from latent and content to the latents' dot product, learned with latents missing."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from sparcode_es.baselines.latents import Latents
from sparcode_es.baselines.nets import SideNet
from sparcode_es.data.dataset import Cases, ScoreFunction, Sequences
from sparcode_es.data.manifest import Side
from sparcode_es.errors import ConfigError
from sparcode_es.models.base import RankingModel
from sparcode_es.models.batches import Batch
from sparcode_es.models.features import inputs
from sparcode_es.models.losses import NegativeSampler


class DropoutNet(RankingModel):
    """score(u, i) = <f_U(U_u, Φ_u), f_V(V_i, Φ_i)>, trained towards <U_u, V_i>; U_u = 0 for a user without a latent."""

    reads_targets = True

    def build(self) -> None:
        """Make the layers."""
        config = self.config
        settings = config.dropoutnet
        self.latents = Latents(config.latents, self.num_users, self.num_items, self.user_specs, self.item_specs)
        if self.latents.from_features and not inputs(self.user_specs):
            raise ConfigError(
                "dropoutnet ranks for users without a latent by their features, and the data folder has none to read; "
                "import it with user features, or set latents.source to 'svd'"
            )
        content = [spec for spec in self.item_specs if spec.name != self.latents.item_feature]
        latent, hidden, rank = self.latents.dim, settings.hidden, settings.rank
        self.user_net = SideNet("user", self.user_specs, self.num_users, latent, hidden, rank, "norm_tanh")
        self.item_net = SideNet("item", content, self.num_items, latent, hidden, rank, "norm_tanh")

    def load_features(self, tables: Mapping[Side, Mapping[str, np.ndarray]]) -> None:
        """The content and, where the data folder has them, the latents."""
        super().load_features(tables)
        self.latents.load_tables(tables)

    def prepare(self, sequences: Sequences) -> None:
        """The latents, where they come from the interactions."""
        self.latents.prepare(sequences, self.config.training.seed)

    def loss(self, batch: Batch, sampler: NegativeSampler) -> Tensor:
        """Eq. 2 of Volkovs et al. over the batch's users and the sampler's items, some of their latents dropped."""
        users, items = batch.users.unique(), sampler.draw(batch.targets).items
        U, V = self.latents.users[users], self.latents.items[items]
        f_U = self.user_net(users, self._dropped(self.user_net, U))
        f_V = self.item_net(items, self._dropped(self.item_net, V))
        return F.mse_loss((f_U @ f_V.T).float(), U @ V.T)

    def _dropped(self, net: SideNet, latents: Tensor) -> Tensor:
        """Whole rows of [n, d] set to 0, with the probability of the configuration; none for a net without content, which
        would have nothing left to read."""
        if not net.content.specs:
            return latents
        kept = torch.rand(len(latents), 1, device=latents.device) >= self.config.dropoutnet.dropout
        return latents * kept

    def case_scores(self, cases: Cases) -> ScoreFunction:
        """The dot products of the two nets' outputs, latents as given, or 0 for a user who has none."""
        rows = torch.from_numpy(cases.users.astype(np.int64))
        users = self.user_net.evaluate(rows, self.latents.of_cases(cases))
        items = self.item_net.evaluate(torch.arange(self.num_items), self.latents.items)
        device = self.latents.items.device
        users, items = users.to(device), items.to(device)
        return lambda some: (users[torch.from_numpy(some).to(device)] @ items.T).cpu().numpy()
