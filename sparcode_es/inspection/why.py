"""Why an item has its score and place for a user, and why it is not among the first k."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sparcode_es.engines.base import Clause, ItemDocument, Query
from sparcode_es.engines.inspector import Inspector, Reasons
from sparcode_es.errors import NotFoundError


@dataclass(frozen=True)
class Why:
    """Why an item has its score."""

    document: ItemDocument
    reasons: Reasons
    rank: int | None
    """Its place in the query's ranking, from 1, exclusions and filters heeded; None when the query does not find it."""
    seen: bool
    """Whether the user has met it."""
    unseen_rank: int | None
    """Its place when the items that the user has met are left out too; None when it is one of them, or not found."""
    names: dict[str, str]
    """Term → readable name, of the query's codes that the index has."""


@dataclass(frozen=True)
class WhyNot:
    """Why an item is not among the first k, or that it is."""

    item: str
    document: ItemDocument | None
    """None when the index has no such item."""
    score: float
    """0 without a posting for any of the query's codes."""
    needed: float | None
    """The score of the k-th item, which it would have had to beat; None when there are fewer than k."""
    rank: int | None
    """The place that its score has, or would have if it were neither seen nor filtered; None without a score."""
    unseen_rank: int | None
    """The place among the items that the user has not met; None when it is one of those met, or without a score."""
    k: int
    seen: bool
    """Whether the user has met it."""
    excluded: bool
    """Whether the query excludes it for that."""
    failed_filters: tuple[str, ...]
    """The filters that do not hold for it. An item without postings is not asked."""
    without_posting: tuple[Clause, ...]
    """The query's codes that have no posting for it."""
    reasons: Reasons | None
    names: dict[str, str]
    verdict: tuple[str, ...]
    """Sentences: everything that keeps it away, or its place."""

    @property
    def recommended(self) -> bool:
        """Whether it is among the first k."""
        hidden = self.excluded or bool(self.failed_filters)
        return self.rank is not None and self.rank <= self.k and not hidden


def why(inspector: Inspector, query: Query, item: str, seen: Sequence[str] = ()) -> Why:
    """Why `item` has its score for a query. seen: what the user has met. Raises `NotFoundError` for an item that the index
    does not have."""
    document = inspector.engine.documents([item]).get(item)
    if document is None:
        raise _unknown(inspector, item)
    reasons = inspector.reasons(query, item)
    found = bool(reasons.parts) and inspector.passes(query, item)
    rank = inspector.ahead(query, item, reasons.score) + 1 if found else None
    unseen_rank = _unseen_rank(inspector, query, item, seen, rank, reasons.score)
    return Why(document, reasons, rank, item in seen, unseen_rank, inspector.names(_terms(query)))


def why_not(inspector: Inspector, query: Query, item: str, seen: Sequence[str], filters: Sequence[str] = ()) -> WhyNot:
    """Why `item` is not among the first `query.k`. seen: what the user has met; filters: how `query.filter` was said."""
    document = inspector.engine.documents([item]).get(item)
    reasons = None if document is None else inspector.reasons(query, item)
    parts = () if reasons is None else reasons.parts
    hit = {part.contribution.term for part in parts}
    best = inspector.engine.search(query)
    score = 0.0 if reasons is None else reasons.score
    rank = inspector.ahead(query, item, score) + 1 if parts else None
    found = WhyNot(
        item=item,
        document=document,
        score=score,
        needed=best[-1].score if len(best) == query.k else None,
        rank=rank,
        unseen_rank=_unseen_rank(inspector, query, item, seen, rank, score),
        k=query.k,
        seen=item in seen,
        excluded=item in query.exclude,
        failed_filters=_failed(inspector, query, item, filters) if parts else (),
        without_posting=tuple(clause for clause in query.clauses if clause.term not in hit),
        reasons=reasons,
        names=inspector.names(_terms(query)),
        verdict=(),
    )
    return replace(found, verdict=tuple(_verdict(found, len(query.clauses), inspector)))


def _terms(query: Query) -> list[str]:
    return [each.term for each in query.clauses]


def _unseen_rank(
    inspector: Inspector, query: Query, item: str, seen: Sequence[str], rank: int | None, score: float
) -> int | None:
    """The place of an item of this rank and score when all that the user has met is left out."""
    if rank is None or item in seen or query.exclude.issuperset(seen):
        return None if item in seen else rank
    return inspector.ahead(replace(query, exclude=query.exclude | set(seen)), item, score) + 1


def _unknown(inspector: Inspector, item: str) -> NotFoundError:
    info = inspector.engine.info()
    return NotFoundError(f"the {info.engine} index {info.generation} at {info.where} has no item {item!r}")


def _failed(inspector: Inspector, query: Query, item: str, filters: Sequence[str]) -> tuple[str, ...]:
    alone = [replace(query, exclude=frozenset(), filter=(each,)) for each in query.filter]
    return tuple(text for text, asked in zip(filters, alone, strict=True) if not inspector.passes(asked, item))


def _verdict(found: WhyNot, codes: int, inspector: Inspector) -> list[str]:
    """What keeps the item away, the deepest reason first."""
    if found.document is None:
        return [f"the index has no item {found.item!r}; it must be in the data that the next training reads"]
    if not codes:
        return ["the user has no codes, so nothing is recommended to them"]
    if found.rank is None:
        return [f"none of the user's {codes} codes has a posting for it, so no score"]
    sentences = ["the user has met it, and seen items are left out"] if found.excluded else []
    sentences += [f"the filter {text} does not hold for it" for text in found.failed_filters]
    would = "would have" if sentences else "has"
    if found.rank > found.k:
        sentences.append(
            f"it {would} place {found.rank} with the score {found.score:.6g}; the first {found.k} need {found.needed:.6g}"
        )
    elif sentences:
        sentences.append(f"it would have place {found.rank} of the first {found.k}")
    else:
        sentences.append(f"it is recommended: place {found.rank} of the first {found.k}")
    if found.seen and not found.excluded:
        sentences.append("the user has met it: where seen items are left out, so is it")
    elif found.unseen_rank not in (None, found.rank):
        sentences.append(f"where seen items are left out, it {would} place {found.unseen_rank}")
    return sentences
