"""The two-tower twin: the same tokenizer, a dot product, no quantizer (Eq. 1)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sparcode_es.config import Config
from sparcode_es.models.features import FeatureSpec
from sparcode_es.models.tokenizers import Tokenizer


class TwoTower(nn.Module):
    """score(user, item) = scale · <mean of the user's tokens, item embedding>; the embedding is the tokenizer's own."""

    def __init__(
        self,
        config: Config,
        num_items: int,
        num_users: int = 0,
        item_features: Sequence[FeatureSpec] = (),
        user_features: Sequence[FeatureSpec] = (),
    ) -> None:
        super().__init__()
        self.config, self.num_items, self.num_users = config, num_items, num_users
        self.tokenizer = Tokenizer(config.tokenizer, num_items, num_users, item_features, user_features)
        self.log_scale = nn.Parameter(torch.tensor(-math.log(config.loss.temperature)))

    def tokens(self, histories: Tensor, positions: Tensor, users: Tensor) -> Tensor:
        """See `Tokenizer.forward`; unit tokens [P, K, D]."""
        tokens: Tensor = self.tokenizer(histories, positions, users)
        return tokens

    def candidate_scores(self, tokens: Tensor, items: Tensor) -> Tensor:
        """tokens [P, K, D], items int64 [n] → [P, n]."""
        return self.log_scale.exp() * tokens.mean(1) @ self.tokenizer.items(items).T
