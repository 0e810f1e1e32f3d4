"""Checkpoint and data folder → postings artifact, and the codes of a split's cases."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sparcode_es import csr
from sparcode_es.codes import UserCodes
from sparcode_es.config import PostingsConfig
from sparcode_es.data.dataset import Cases, Dataset
from sparcode_es.models.sparcode import SparCode
from sparcode_es.postings.artifact import Artifact
from sparcode_es.postings.build import build_postings, require_nothing_folded
from sparcode_es.serving.encoder import HistoryEncoder, encode_histories
from sparcode_es.training.build import load_user_features, require_same_items


def build_from_data(
    encoder: HistoryEncoder, dataset: Dataset, out: Path, config: PostingsConfig | None = None
) -> Artifact:
    """Encode every user's whole history and build the postings of the encoder's model.

    The codes of the split's histories count as observed too, so that `evaluate` asks for no code that was left out. A cut by
    traffic looks at histories without their test events, so that these have no say in what is measured with them, unless
    `traffic_test` says otherwise.

    Raises `MismatchError` when the model was trained on other items, and what `build_postings` and `require_nothing_folded`
    raise.
    """
    config = config or PostingsConfig()
    require_nothing_folded(out, encoder.model)
    require_same_items(encoder.item_ids, dataset)
    load_user_features(encoder.model, dataset)
    histories = dataset.full_histories()
    users = np.arange(dataset.num_users)
    traffic = None
    if config.cut == "traffic" and not config.traffic_test:
        before = dataset.train_sequences(with_validation=True)
        traffic = encode_histories(encoder.model, before.offsets, before.items, before.users)
    asked = [_codes_of(encoder.model, dataset.cases(split)).codes for split in ("valid", "test")]
    return build_postings(
        encoder.model,
        out,
        item_ids=dataset.item_ids,
        item_docs=(dataset.item_doc(item) for item in range(dataset.num_items)),
        user_ids=dataset.user_ids,
        user_codes=encode_histories(encoder.model, histories.offsets, histories.items, users),
        user_seen=histories,
        asked_codes=np.concatenate(asked),
        traffic=traffic,
        config=config,
    )


def encode_cases(encoder: HistoryEncoder, dataset: Dataset, cases: Cases) -> UserCodes:
    """The codes of the cases' histories. Raises `MismatchError` as `build_from_data` does."""
    require_same_items(encoder.item_ids, dataset)
    load_user_features(encoder.model, dataset)
    return _codes_of(encoder.model, cases)


def _codes_of(model: SparCode, cases: Cases) -> UserCodes:
    return encode_histories(model, cases.history_offsets, cases.history_items, cases.users)


def encode_known(model: SparCode, artifact: Artifact, rows: np.ndarray) -> UserCodes:
    """The codes that the model gives some users of an artifact, from the histories that it holds. rows: int64 [n]."""
    histories = [artifact.user_seen(int(row)) for row in rows]
    offsets = csr.offsets_of([len(history) for history in histories])
    items = np.concatenate([*histories, np.zeros(0, np.uint32)]).astype(np.uint32)
    return encode_histories(model, offsets, items, rows)
