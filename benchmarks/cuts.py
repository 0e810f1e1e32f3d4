"""Postings of a trained model, cut in different ways, and the rankings that they give."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy import sparse
from systems import Bench

from sparcode_es.codes import UserCodes
from sparcode_es.config import PostingsConfig
from sparcode_es.data.dataset import ScoreFunction
from sparcode_es.models.sparcode import SparCode
from sparcode_es.postings.artifact import Artifact
from sparcode_es.postings.build import build_postings
from sparcode_es.postings.grid import from_grid
from sparcode_es.serving.encoder import encode_histories
from sparcode_es.tables import StringTable

SPARSITIES = (0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.9995)
SMALL_SPARSITIES = (0.0, 0.9, 0.99, 0.998)


def build(bench: Bench, model: SparCode, out: Path, config: PostingsConfig, foreseen: bool = False) -> Artifact:
    """Postings whose users are the test cases: user u is case u, with the codes of its history.

    foreseen: a cut by traffic looks at these histories, as that of `postings build` before `evaluate`; else at the histories of
    before, so that every user asks with one that the cut has not seen.
    """
    cases, dataset = bench.cases, bench.dataset
    earlier = config.cut == "traffic" and not foreseen
    return build_postings(
        model,
        out,
        item_ids=dataset.item_ids,
        item_docs=({"title": None, "attributes": {}} for _ in range(dataset.num_items)),
        user_ids=StringTable.build(dataset.user_ids[int(user)] for user in cases.users),
        user_codes=encode_histories(model, cases.history_offsets, cases.history_items, cases.users),
        user_seen=cases.history,
        traffic=_earlier_histories(bench, model) if earlier else None,
        config=config,
    )


def _earlier_histories(bench: Bench, model: SparCode) -> UserCodes:
    """The codes of the validation cases: what is known before anybody asks with a test case's history."""
    cases = bench.dataset.cases("valid")
    return encode_histories(model, cases.history_offsets, cases.history_items, cases.users)


def artifact_scores(artifact: Artifact) -> ScoreFunction:
    """Σ boost × stored score (Eq. 11) of the artifact's users for all items; -inf where nothing is stored.

    What an engine returns, for every item at once.
    """
    users = sparse.csr_matrix(
        (artifact.user_boosts, artifact.user_codes.astype(np.int64), artifact.user_code_offsets.astype(np.int64)),
        shape=(artifact.num_users, artifact.num_codes),
    )
    postings = sparse.csr_matrix(
        (from_grid(artifact.scores), artifact.item_numbers.astype(np.int64), artifact.code_offsets.astype(np.int64)),
        shape=(artifact.num_codes, artifact.num_items),
    )

    def score(rows: np.ndarray) -> np.ndarray:
        found = (users[rows] @ postings).toarray().astype(np.float32)
        found[found == 0] = -np.inf
        return found

    return score
