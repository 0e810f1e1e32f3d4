"""Models from a configuration and a data folder."""

from __future__ import annotations

import itertools

import numpy as np

from sparcode_es.baselines.all_to_all import AllToAll
from sparcode_es.baselines.deezernet import DeezerNet
from sparcode_es.baselines.dropoutnet import DropoutNet
from sparcode_es.baselines.melu import MeLU
from sparcode_es.baselines.popularity import Popularity
from sparcode_es.baselines.tdm import TDM
from sparcode_es.baselines.two_tower import TwoTower
from sparcode_es.config import Config
from sparcode_es.data.dataset import Dataset, ListFeature
from sparcode_es.data.manifest import Role, Side
from sparcode_es.errors import ConfigError, MismatchError
from sparcode_es.models.base import RankingModel
from sparcode_es.models.features import FeatureSpec, FeatureTables
from sparcode_es.models.sparcode import SparCode
from sparcode_es.models.tokenizers import Tokenizer
from sparcode_es.tables import StringTable

MODELS: dict[str, type[RankingModel]] = {
    "sparcode": SparCode,
    "two_tower": TwoTower,
    "popularity": Popularity,
    "dropoutnet": DropoutNet,
    "melu": MeLU,
    "deezernet": DeezerNet,
    "all_to_all": AllToAll,
    "tdm": TDM,
}
"""`config.model` → the class that it names."""

MAX_LIST = 32
"""Values of a list feature that are read a row."""


def feature_tables(
    dataset: Dataset, side: Side, role: Role = "input"
) -> tuple[list[FeatureSpec], dict[str, np.ndarray]]:
    """The features of one side of the schema as the model reads them: specs, and a table [rows, width] each.

    Targets are given only where they are asked for: nothing that is to be predicted may be read.
    """
    specs, tables = [], {}
    for feature in dataset.schema:
        if (feature.side, feature.role) != (side, role):
            continue
        values = dataset.feature(side, feature.name)
        longest = 1
        if isinstance(values, ListFeature):
            values = _padded(values)
            longest = values.shape[1]
        specs.append(FeatureSpec(feature.name, feature.kind, feature.size, longest, role))
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


def load_user_features(model: RankingModel, dataset: Dataset) -> None:
    """Give a model read from a checkpoint the user features that the checkpoint leaves out (see `FeatureTables`).

    Raises `MismatchError` when the data folder has other features than the model was trained on, or, where the checkpoint has
    them, other users, whose rows would be somebody else's.
    """
    tables_of = [m for m in model.modules() if isinstance(m, FeatureTables) and m.specs and m.side == "user"]
    if any(m.persistent and m.rows != dataset.num_users for m in tables_of):
        raise MismatchError(
            f"the checkpoint holds features of {tables_of[0].rows} users, {dataset.path} has {dataset.num_users}; give the "
            "data it was trained on"
        )
    left_out = [m for m in tables_of if not m.persistent]
    if not left_out:
        return
    specs, tables = feature_tables(dataset, "user")
    for module in left_out:
        if module.specs != tuple(specs):
            raise MismatchError(
                f"the checkpoint was trained on other user features than those of {dataset.path}; give the data it was trained on"
            )
        module.load_tables(tables)


def read_features(
    config: Config, dataset: Dataset
) -> tuple[dict[Side, list[FeatureSpec]], dict[Side, dict[str, np.ndarray]]]:
    """The features of a data folder that the model which `config.model` names reads: specs and tables, by side."""
    specs: dict[Side, list[FeatureSpec]] = {"user": [], "item": []}
    tables: dict[Side, dict[str, np.ndarray]] = {"user": {}, "item": {}}
    roles: tuple[Role, ...] = ("input", "target") if MODELS[config.model].reads_targets else ("input",)
    for side, role in itertools.product(specs, roles) if config.tokenizer.use_features else ():
        found, values = feature_tables(dataset, side, role)
        specs[side] += found
        tables[side] |= values
    return specs, tables


def build_model(config: Config, dataset: Dataset) -> RankingModel:
    """The model that `config.model` names, with the data folder's features, untrained."""
    specs, tables = read_features(config, dataset)
    model = MODELS[config.model](config, dataset.num_items, dataset.num_users, specs["item"], specs["user"])
    model.load_features(tables)
    if dataset.has_cold_users and isinstance(getattr(model, "tokenizer", None), Tokenizer):
        raise ConfigError(
            f"{dataset.path} asks for users without a history, and this tokenizer reads histories; "
            "set tokenizer.source = 'features' (as the presets deezer-… do)"
        )
    return model


def require_same_items(item_ids: StringTable, dataset: Dataset) -> None:
    """Raise `MismatchError` unless a model's item numbers mean the data's items."""
    if list(item_ids) != list(dataset.item_ids):
        raise MismatchError(
            f"the checkpoint was trained on other items than those of {dataset.path}; give the data it was trained on"
        )
