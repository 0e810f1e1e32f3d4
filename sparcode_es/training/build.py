"""Models from a configuration and a data folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from sparcode_es.baselines.two_tower import TwoTower
from sparcode_es.config import Config
from sparcode_es.data.dataset import Dataset, ListFeature
from sparcode_es.models.features import FeatureSpec
from sparcode_es.models.sparcode import SparCode

MAX_LIST = 32
"""Values of a list feature that are read a row."""


def feature_tables(dataset: Dataset, side: Literal["user", "item"]) -> tuple[list[FeatureSpec], dict[str, np.ndarray]]:
    """The features of one side of the schema as the model reads them: specs, and a table [rows, width] each."""
    specs, tables = [], {}
    for feature in dataset.schema:
        if feature.side != side:
            continue
        values = dataset.feature(side, feature.name)
        longest = 1
        if isinstance(values, ListFeature):
            values = _padded(values)
            longest = values.shape[1]
        specs.append(FeatureSpec(feature.name, feature.kind, feature.size, longest))
        tables[feature.name] = values
    return specs, tables


def _padded(values: ListFeature) -> np.ndarray:
    """The first `MAX_LIST` values of each row, 0 behind them, int32 [rows, longest]."""
    lengths = np.minimum(np.diff(values.offsets.astype(np.int64)), MAX_LIST)
    table = np.zeros((len(lengths), max(1, int(lengths.max(initial=1)))), dtype=np.int32)
    columns = np.arange(table.shape[1])
    inside = columns < lengths[:, None]
    index = values.offsets[:-1].astype(np.int64)[:, None] + columns
    table[inside] = values.values[index[inside]]
    return table


def build_model(config: Config, dataset: Dataset) -> SparCode | TwoTower:
    """The model that `config.model` names, with the data folder's features, untrained."""
    specs: Mapping[str, list[FeatureSpec]] = {"user": [], "item": []}
    tables: dict[str, dict[str, np.ndarray]] = {"user": {}, "item": {}}
    if config.tokenizer.use_features:
        for side in ("user", "item"):
            specs[side], tables[side] = feature_tables(dataset, side)  # type: ignore[index]
    make = TwoTower if config.model == "two_tower" else SparCode
    model = make(config, dataset.num_items, dataset.num_users, specs["item"], specs["user"])
    model.tokenizer.item_features.load_tables(tables["item"])
    model.tokenizer.user_features.load_tables(tables["user"])
    return model
