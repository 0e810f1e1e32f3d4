"""What every trained system is: a module that learns from batches of histories and scores all items for the cases of a split."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from sparcode_es.config import Config, StageConfig
from sparcode_es.data.dataset import Cases, ScoreFunction, Sequences
from sparcode_es.data.manifest import Side
from sparcode_es.models.batches import Batch
from sparcode_es.models.feature_tokenizer import FeatureTokenizer, make_tokenizer
from sparcode_es.models.features import FeatureSpec, FeatureTables
from sparcode_es.models.losses import NegativeSampler
from sparcode_es.models.tokenizers import Tokenizer


class Tower(Protocol):
    """What other systems begin from: a trained two-tower (`sparcode_es.baselines.two_tower`)."""

    tokenizer: Tokenizer | FeatureTokenizer
    log_scale: nn.Parameter


class RankingModel(nn.Module, ABC):
    """A system with a row in the tables. All are made by the same call and pass `tests/training/test_systems.py`."""

    reads_targets: ClassVar[bool] = False
    """Whether the features of role `target` are among those given."""
    begins_from_tower: ClassVar[bool] = False
    """Whether stage 1 is a two-tower of the same configuration, handed to `begin_from`."""

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
        self.item_specs, self.user_specs = tuple(item_features), tuple(user_features)
        self.build()

    @abstractmethod
    def build(self) -> None:
        """Make the layers and buffers of a model of `config`, for these items, users and features."""

    def load_features(self, tables: Mapping[Side, Mapping[str, np.ndarray]]) -> None:
        """Fill every feature table in the model, and fit its scales: side → name → array [rows, width]."""
        for module in self.modules():
            if isinstance(module, FeatureTables):
                module.load_tables(tables[module.side])
                module.fit_scales()

    def prepare(self, sequences: Sequences) -> None:
        """Called once before training: what the model takes straight from the training sequences."""

    def begin_from(self, tower: Tower) -> None:
        """Called once before training where `begins_from_tower`: what the model takes from the trained two-tower."""

    @property
    def stage_config(self) -> StageConfig:
        """How long and how fast the model is trained by its own loss."""
        return self.config.training.tower

    @abstractmethod
    def loss(self, batch: Batch, sampler: NegativeSampler) -> Tensor:
        """The training loss of one batch, a scalar."""

    @abstractmethod
    def case_scores(self, cases: Cases) -> ScoreFunction:
        """The scores of all items for the cases, as ranked; -inf for an item that the system does not retrieve."""

    def after_epoch(self) -> dict[str, float]:
        """Called after each epoch of training; what it returns is logged."""
        return {}


class TokenModel(RankingModel):
    """A system whose user is what a tokenizer makes of the history: SparCode, its two-tower, All-to-All SA, TDM. Each is a
    `Tower`, and begins from one unless it is the two-tower."""

    tokenizer: Tokenizer | FeatureTokenizer
    log_scale: nn.Parameter

    def build_tower(self) -> None:
        """Make what all of them have: the tokenizer, and the scale of its dot products."""
        config = self.config
        self.tokenizer = make_tokenizer(
            config.tokenizer, self.num_items, self.num_users, self.item_specs, self.user_specs
        )
        self.log_scale = nn.Parameter(torch.tensor(-math.log(config.loss.temperature)))

    def take_tower(self, tower: Tower, summed: int = 1) -> None:
        """The tower's tokenizer and scale.

        summed: tokens whose scores are added up, where the tower's score is their mean: each begins with its share of the scale.
        """
        self.tokenizer.load_state_dict(tower.tokenizer.state_dict())
        self.log_scale.data.copy_(tower.log_scale.data - math.log(summed))

    def tokens(self, histories: Tensor, positions: Tensor, users: Tensor) -> Tensor:
        """Eq. 6. See `Tokenizer.forward`; unit tokens [P, K, D]."""
        tokens: Tensor = self.tokenizer(histories, positions, users)
        return tokens
