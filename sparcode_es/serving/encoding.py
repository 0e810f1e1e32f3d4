"""What a recommender wants of whoever encodes histories."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from sparcode_es.codes import Clause, UserCodes, clauses_of
from sparcode_es.engines.base import EngineInfo
from sparcode_es.errors import MismatchError, NotFoundError
from sparcode_es.tables import StringTable


class Encoder(Protocol):
    """What makes codes of a history; `serving.encoder.HistoryEncoder` and `serving.exported.ExportedEncoder` are such."""

    shared_heads: bool
    item_ids: StringTable

    @property
    def hashes(self) -> tuple[str, str]:
        """Of the model and of its codebooks, whose codes these are."""
        ...

    def __call__(self, items: Sequence[str]) -> UserCodes:
        """Item ids, oldest first → the codes of one user. Raises `NotFoundError` for an unknown item."""
        ...


def unknown_items(encoder: Encoder, history: Sequence[str]) -> tuple[str, ...]:
    """The items of a history that the model does not know, each once."""
    return tuple(item for item in dict.fromkeys(history) if encoder.item_ids.find(item) is None)


def history_clauses(encoder: Encoder, history: Sequence[str], unknown: Collection[str]) -> tuple[Clause, ...]:
    """The codes of somebody new, without the items that are `unknown` to the model. Raises `NotFoundError` where none is left."""
    known = [item for item in history if item not in unknown]
    if history and not known:
        raise NotFoundError("the model knows none of the history's items")
    return clauses_of(encoder(known), 0, encoder.shared_heads)


def require_model(info: EngineInfo, hashes: tuple[str, str]) -> None:
    """Raise `MismatchError` unless what an engine holds was built from the model with these hashes."""
    if (info.model_hash, info.codebook_hash) != hashes:
        raise MismatchError(
            f"the {info.engine} index at {info.where} holds codes of model {info.model_hash}, the encoder is model "
            f"{hashes[0]}; give the checkpoint (or its export) that the index was built from, or build the index again"
        )
