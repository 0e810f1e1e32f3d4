"""Configuration: frozen dataclasses, checked when they are made, read from TOML and written back to it.

`Config` is the whole of a training; its tables are the fields below. A key that does not exist is refused with the
nearest one that does.
"""

from __future__ import annotations

from sparcode_es.config.baselines import (
    AllToAllConfig,
    AllToAllStage,
    DeezerNetConfig,
    DropoutNetConfig,
    LatentsConfig,
    MeLUConfig,
    TDMConfig,
    TDMStage,
)
from sparcode_es.config.model import ItemCodesConfig, QuantizerConfig, ScorerConfig, TokenizerConfig, TwoTowerConfig
from sparcode_es.config.postings import PostingsConfig
from sparcode_es.config.toml import (
    from_mapping,
    load_config,
    parse_toml,
    preset_names,
    read_by_model,
    to_mapping,
    to_toml,
)
from sparcode_es.config.training import CodesStage, LossConfig, StageConfig, TrainingConfig
from sparcode_es.config.whole import Config, ModelName

__all__ = [
    "AllToAllConfig",
    "AllToAllStage",
    "CodesStage",
    "Config",
    "DeezerNetConfig",
    "DropoutNetConfig",
    "ItemCodesConfig",
    "LatentsConfig",
    "LossConfig",
    "MeLUConfig",
    "ModelName",
    "PostingsConfig",
    "QuantizerConfig",
    "ScorerConfig",
    "StageConfig",
    "TDMConfig",
    "TDMStage",
    "TokenizerConfig",
    "TrainingConfig",
    "TwoTowerConfig",
    "from_mapping",
    "load_config",
    "parse_toml",
    "preset_names",
    "read_by_model",
    "to_mapping",
    "to_toml",
]
