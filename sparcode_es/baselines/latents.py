"""Pre-trained embeddings of users and items: from the data folder's features, or a truncated SVD of the interactions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from scipy import sparse
from sklearn.decomposition import TruncatedSVD
from torch import Tensor, nn
from torch.nn import functional as F

from sparcode_es.config import LatentsConfig
from sparcode_es.data.dataset import Cases, Sequences
from sparcode_es.data.manifest import Side
from sparcode_es.errors import ConfigError, DataError
from sparcode_es.models.batches import Batch
from sparcode_es.models.features import FeatureSpec


class Latents(nn.Module):
    """Users' latents [U, d], of length 1 or all 0 where there is none, and items' latents [I, d], of mean square length 1.

    Neither scaling changes a user's ranking. `item_feature` and `user_feature` name the features that hold them, or are
    None with the SVD.
    """

    users: Tensor
    items: Tensor

    def __init__(
        self,
        config: LatentsConfig,
        num_users: int,
        num_items: int,
        user_specs: Sequence[FeatureSpec],
        item_specs: Sequence[FeatureSpec],
    ) -> None:
        super().__init__()
        pair = None if config.source == "svd" else _feature_pair(user_specs, item_specs)
        if pair is None and config.source == "features":
            raise ConfigError(
                "latents.source = 'features' needs a user vector feature of role target and an item vector feature of the "
                "same size, and the data folder has no such pair; set latents.source to 'svd' or import them"
            )
        self.user_feature: str | None
        self.item_feature: str | None
        self.user_feature, self.item_feature = pair or (None, None)
        self.dim = config.dim if pair is None else next(s.size for s in user_specs if s.name == pair[0])
        self.register_buffer("users", torch.zeros(num_users, self.dim))
        self.register_buffer("items", torch.zeros(num_items, self.dim))

    @property
    def from_features(self) -> bool:
        """Whether the data folder holds the latents."""
        return self.user_feature is not None

    def load_tables(self, tables: Mapping[Side, Mapping[str, np.ndarray]]) -> None:
        """Take the latents from the feature tables; see `RankingModel.load_features`."""
        if self.user_feature is not None and self.item_feature is not None:
            self._set_items(tables["item"][self.item_feature])
            self.users.copy_(F.normalize(torch.from_numpy(np.array(tables["user"][self.user_feature])), dim=-1))

    def prepare(self, sequences: Sequences, seed: int) -> None:
        """Without features: the SVD of the training interactions R, whose item side V gives a user r_u·V (PureSVD). Raises
        `DataError` where there is but one item."""
        if self.from_features:
            return
        if len(self.items) < 2:
            raise DataError(
                "the log has a single item, of which there are no latents; import a log of two items or more"
            )
        matrix = _interactions(sequences.offsets, sequences.items, len(self.items))
        matrix.data[:] = 1
        rank = min(self.dim, *matrix.shape)
        vectors = np.zeros((len(self.items), self.dim), dtype=np.float32)
        found = TruncatedSVD(rank, random_state=seed).fit(matrix)
        # Directions that no user has are left at 0.
        vectors[:, :rank] = (found.components_ * (found.singular_values_ > 1e-4 * found.singular_values_[0])[:, None]).T
        self._set_items(vectors)
        rows = torch.from_numpy(sequences.users.astype(np.int64)).to(self.users.device)
        self.users[rows] = self.of_histories(sequences.offsets, sequences.items)

    def _set_items(self, vectors: np.ndarray) -> None:
        values = torch.from_numpy(np.array(vectors, dtype=np.float32))
        self.items.copy_(values / values.square().sum(-1).mean().sqrt().clamp(min=1e-12))

    def of_histories(self, offsets: np.ndarray, items: np.ndarray) -> Tensor:
        """The direction of the mean latent of n histories in CSR form, 0 for an empty one, [n, d]: DropoutNet's transform
        for users who were not in training (§4.3 of Volkovs et al.)."""
        sums = _interactions(offsets, items, len(self.items)) @ self.items.cpu().numpy()
        return F.normalize(torch.from_numpy(sums), dim=-1).to(self.items.device)

    def of_prefixes(self, batch: Batch) -> Tensor:
        """The same of the history up to each trained position, [P, d]."""
        sums = self.items[batch.histories].cumsum(1)  # [B, L, d]
        return F.normalize(sums.flatten(0, 1)[batch.positions], dim=-1)

    def of_cases(self, cases: Cases) -> Tensor:
        """The latents of the cases' users [n, d]: their features', else those of their history."""
        found = self.of_histories(cases.history_offsets, cases.history_items)
        if not self.from_features:
            return found
        known = self.users[torch.from_numpy(cases.users.astype(np.int64)).to(self.users.device)]
        return torch.where(known.any(-1, keepdim=True), known, found)


def _feature_pair(user_specs: Sequence[FeatureSpec], item_specs: Sequence[FeatureSpec]) -> tuple[str, str] | None:
    """The first user target and item vector of one size."""
    targets = [spec for spec in user_specs if spec.role == "target" and spec.kind == "vector"]
    vectors = [spec for spec in item_specs if spec.kind == "vector"]
    pairs = [(user.name, item.name) for user in targets for item in vectors if user.size == item.size]
    return pairs[0] if pairs else None


def _interactions(offsets: np.ndarray, items: np.ndarray, num_items: int) -> sparse.csr_matrix:
    """How often each item stands in each of n sequences in CSR form, float32 [n, I]."""
    ones = np.ones(len(items), dtype=np.float32)
    shape = (len(offsets) - 1, num_items)
    matrix = sparse.csr_matrix((ones, items.astype(np.int64), offsets.astype(np.int64)), shape=shape)
    matrix.sum_duplicates()
    return matrix
