"""Everything a training is told: one table a part, and what holds between them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from sparcode_es.config.baselines import (
    AllToAllConfig,
    DeezerNetConfig,
    DropoutNetConfig,
    LatentsConfig,
    MeLUConfig,
    TDMConfig,
)
from sparcode_es.config.checks import require
from sparcode_es.config.model import ItemCodesConfig, QuantizerConfig, ScorerConfig, TokenizerConfig, TwoTowerConfig
from sparcode_es.config.training import LossConfig, TrainingConfig

ModelName = Literal["sparcode", "two_tower", "popularity", "all_to_all", "tdm", "dropoutnet", "melu", "deezernet"]


@dataclass(frozen=True)
class Config:
    """Everything a training is told."""

    model: ModelName = "sparcode"
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    quantizer: QuantizerConfig = field(default_factory=QuantizerConfig)
    scorer: ScorerConfig = field(default_factory=ScorerConfig)
    item_codes: ItemCodesConfig = field(default_factory=ItemCodesConfig)
    two_tower: TwoTowerConfig = field(default_factory=TwoTowerConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    latents: LatentsConfig = field(default_factory=LatentsConfig)
    dropoutnet: DropoutNetConfig = field(default_factory=DropoutNetConfig)
    melu: MeLUConfig = field(default_factory=MeLUConfig)
    deezernet: DeezerNetConfig = field(default_factory=DeezerNetConfig)
    all_to_all: AllToAllConfig = field(default_factory=AllToAllConfig)
    tdm: TDMConfig = field(default_factory=TDMConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def __post_init__(self) -> None:
        require(
            not (self.scorer.memory and self.quantizer.codebooks > 1),
            "scorer.memory needs quantizer.codebooks = 1; set scorer.memory = false for M ≥ 2",
        )
        require(
            self.model == "two_tower" or not self.two_tower.untied_items,
            f"two_tower.untied_items is for model two_tower, not {self.model}; SparCode has scorer.untied_items",
        )
        require(
            self.tokenizer.dim % self.quantizer.codebooks == 0,
            f"tokenizer.dim ({self.tokenizer.dim}) must be a multiple of quantizer.codebooks ({self.quantizer.codebooks})",
        )
        require(
            not (self.tokenizer.source == "features" and self.item_codes.latest),
            "item codes stand for a history: set item_codes.latest = 0 with tokenizer.source = 'features'",
        )
        if self.model == "sparcode" and self.training.freeze_tokenizer:
            self._refuse_what_freezing_switches_off()
        if self.model == "all_to_all" and self.all_to_all.form == "full":
            self._check_full_form()

    def _refuse_what_freezing_switches_off(self) -> None:
        standard = QuantizerConfig()
        for name in ("gradient", "commitment", "decay", "revive_below"):
            require(
                getattr(self.quantizer, name) == getattr(standard, name),
                f"quantizer.{name} does nothing while training.freeze_tokenizer is true: set training.freeze_tokenizer = false",
            )

    def _check_full_form(self) -> None:
        heads = self.all_to_all.attention_heads
        require(
            self.tokenizer.source == "history",
            "all_to_all.form 'full' joins the candidate to a history, which tokenizer.source 'features' lacks; use 'late'",
        )
        require(
            self.tokenizer.dim % heads == 0,
            f"tokenizer.dim ({self.tokenizer.dim}) must be a multiple of all_to_all.attention_heads ({heads})",
        )
        require(
            self.tokenizer.kind != "capsule",
            "all_to_all.form 'full' reads one state an event, which tokenizer.kind 'capsule' lacks; use 'late'",
        )
