"""The files of Deezer's cold-start data set (Briand et al., KDD '21; Zenodo record 5121674), by name.

    song_embeddings.parquet      song_index, features_svd, features_mf
    user_embeddings.parquet      user_index, svd_embeddings, mf_embeddings; the warm users only
    user_features_PART_KIND.parquet, PART of train, validation, test, KIND of svd, mf: user_index, d1d30_songs,
                                 fields X_embedding0, X_embedding1, …, and scalars

TT-SVD (svd) vectors have 128 numbers and UT-ALS (mf) vectors 256. An early release has one `user_features_PART.parquet` for
both kinds; it is read where the file of the kind is missing.
"""

from __future__ import annotations

from typing import Literal

from sparcode_es.data.labels import TEST, TRAIN, VALID

Embeddings = Literal["svd", "mf"]
PARTS = {"train": TRAIN, "validation": VALID, "test": TEST}
SONGS, USERS = "song_embeddings.parquet", "user_embeddings.parquet"


def feature_names(part: str, kind: Embeddings) -> tuple[str, str]:
    """The file of the users of a part, and what an early release calls it."""
    return f"user_features_{part}_{kind}.parquet", f"user_features_{part}.parquet"
