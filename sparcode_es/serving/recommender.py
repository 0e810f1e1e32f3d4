"""User → codes → query → hits with titles and explanations, on any engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from sparcode_es.codes import UserCodes, clauses_of
from sparcode_es.engines.base import Clause, Contribution, Engine, ItemDocument, Query
from sparcode_es.errors import MismatchError

EncodeHistory = Callable[[Sequence[str]], UserCodes]
"""Item ids, oldest first → the codes of one user. Given from outside, since it needs the model."""


@dataclass(frozen=True)
class Explanation:
    """Which codes gave an item its score: Σ boost × score = total."""

    contributions: tuple[Contribution, ...]
    total: float


@dataclass(frozen=True)
class Recommendation:
    """An item to show, and why when that was asked for."""

    document: ItemDocument
    score: float
    explanation: Explanation | None = None


@dataclass(frozen=True)
class Answer:
    """What a user gets: the recommendations, the query that found them, and what the user had seen."""

    recommendations: tuple[Recommendation, ...]
    query: Query
    seen: tuple[str, ...]
    code_items: Mapping[str, ItemDocument] = field(default_factory=dict)
    """Term → the item of the history that an item code stands for, when an explanation was asked for."""


@dataclass(frozen=True)
class Request:
    """How to ask, whoever asks."""

    k: int = 10
    exclude_seen: bool = False
    explain: bool = False
    filter: tuple[tuple[str, str], ...] = ()


class Recommender:
    """Asks one engine."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def require_model(self, model_hash: str, codebook_hash: str) -> None:
        """Raise `MismatchError` unless the engine's index was built from this model."""
        info = self.engine.info()
        if (info.model_hash, info.codebook_hash) != (model_hash, codebook_hash):
            raise MismatchError(
                f"the {info.engine} index at {info.where} holds codes of model {info.model_hash}, the encoder is model "
                f"{model_hash}; give the checkpoint (or its export) that the index was built from, or build the index again"
            )

    def for_user(self, user_id: str, request: Request) -> Answer:
        """Recommend for a user that the index knows. Raises `NotFoundError`."""
        entry = self.engine.user(user_id)
        return self._answer(entry.clauses, entry.seen, request)

    def for_history(
        self, history: Sequence[str], encode: EncodeHistory, shared_heads: bool, request: Request
    ) -> Answer:
        """Recommend for somebody new, from the ids of their items, oldest first."""
        return self._answer(clauses_of(encode(history), 0, shared_heads), tuple(history), request)

    def _answer(self, clauses: tuple[Clause, ...], seen: tuple[str, ...], request: Request) -> Answer:
        exclude = frozenset(seen) if request.exclude_seen else frozenset()
        query = Query(clauses, request.k, exclude, request.filter)
        hits = self.engine.search(query)
        documents = self.engine.documents([hit.item for hit in hits])
        found = tuple(
            Recommendation(
                documents.get(hit.item, ItemDocument(hit.item, None)),
                hit.score,
                self.explain(query, hit.item) if request.explain else None,
            )
            for hit in hits
        )
        named = self.engine.code_items([clause.term for clause in clauses]) if request.explain else {}
        return Answer(found, query, seen, named)

    def explain(self, query: Query, item: str) -> Explanation:
        """Which clauses gave the item what. Raises `NotFoundError`."""
        contributions = tuple(self.engine.explain(query, item))
        return Explanation(contributions, sum(part.boost * part.score for part in contributions))
