"""Checkpoint and data folder → postings artifact, and the codes of a split's cases."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sparcode_es.codes import UserCodes
from sparcode_es.config import PostingsConfig
from sparcode_es.data.dataset import Cases, Dataset
from sparcode_es.errors import MismatchError
from sparcode_es.postings.artifact import Artifact
from sparcode_es.postings.build import build_postings
from sparcode_es.serving.encoder import HistoryEncoder, encode_histories
from sparcode_es.tables import StringTable
from sparcode_es.training.build import load_user_features


def build_from_data(
    encoder: HistoryEncoder, dataset: Dataset, out: Path, config: PostingsConfig | None = None
) -> Artifact:
    """Encode every user's whole history and build the postings of the encoder's model.

    Raises `MismatchError` when the model was trained on other items, and what `build_postings` raises.
    """
    require_same_items(encoder.item_ids, dataset)
    load_user_features(encoder.model, dataset)
    histories = dataset.full_histories()
    users = np.arange(dataset.num_users)
    return build_postings(
        encoder.model,
        out,
        item_ids=dataset.item_ids,
        item_docs=(dataset.item_doc(item) for item in range(dataset.num_items)),
        user_ids=dataset.user_ids,
        user_codes=encode_histories(encoder.model, histories.offsets, histories.items, users),
        user_seen=histories,
        config=config,
    )


def encode_cases(encoder: HistoryEncoder, dataset: Dataset, cases: Cases) -> UserCodes:
    """The codes of the cases' histories. Raises `MismatchError` as `build_from_data` does."""
    require_same_items(encoder.item_ids, dataset)
    load_user_features(encoder.model, dataset)
    return encode_histories(encoder.model, cases.history_offsets, cases.history_items, cases.users)


def require_same_items(item_ids: StringTable, dataset: Dataset) -> None:
    """Raise `MismatchError` unless a model's item numbers mean the data's items."""
    if list(item_ids) != list(dataset.item_ids):
        raise MismatchError(
            f"the checkpoint was trained on other items than those of {dataset.path}; give the data it was trained on"
        )
