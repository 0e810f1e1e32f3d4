"""Rankings of several questions at once: searched, scored again where that is wanted, read deeper where diversity needs it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sparcode_es.engines.base import Hit, Source
from sparcode_es.engines.plans import Plan
from sparcode_es.errors import NotFoundError, SparcodeError
from sparcode_es.postings.artifact import Artifact
from sparcode_es.serving.arrange import MaxPer, Mmr, at_most, given_by_codes, marginal
from sparcode_es.serving.ask import DEEPEST
from sparcode_es.serving.rescore import rescored
from sparcode_es.serving.work import Work, values

DEEPER = 4
"""How much further the ranking is read when diversity left too few."""


class Moved(Exception):
    """The generation that was asked is there no more."""


class Ranker:
    """Plans over a source; `artifact` scores the hits again in float64 where a generation holds it."""

    def __init__(self, source: Source, artifact: Artifact | None) -> None:
        self.source, self.artifact = source, artifact

    def rank(self, works: Sequence[Work]) -> Plan[None]:
        """Fill in the rankings, deeper ones where diversity left too few."""
        pending = list(works)
        while pending:
            answers = yield from self._search(pending)
            for work, answer in zip(pending, answers, strict=True):
                if isinstance(answer, SparcodeError):
                    work.fail(answer)
                else:
                    work.ranking = answer
            left = []
            for work in pending:
                if work.error is None and (yield from self._is_short(work)):
                    left.append(work)
            pending = left
        for work in works:
            if work.error is None and isinstance(work.ask.diversify, Mmr):
                yield from self._spread(work, work.ask.diversify)

    def _search(self, works: Sequence[Work]) -> Plan[list[list[Hit] | SparcodeError]]:
        queries = [work.query for work in works if work.query is not None]
        try:
            answers = yield from self.source.search_many(queries)
        except NotFoundError as error:
            raise Moved from error
        if any(isinstance(answer, NotFoundError) for answer in answers):
            raise Moved
        if self.artifact is None:
            return answers
        found: list[list[Hit] | SparcodeError] = []
        for query, answer in zip(queries, answers, strict=True):
            exact = isinstance(answer, list) and query.text is None and (yield from self._holds(query.generation))
            found.append(rescored(self.artifact, query, answer) if exact and isinstance(answer, list) else answer)
        return found

    def _holds(self, generation: str | None) -> Plan[bool]:
        """Whether a generation holds the artifact that was given."""
        info = yield from self.source.info(generation)
        return self.artifact is not None and info.artifact == self.artifact.generation_hash

    def _is_short(self, work: Work) -> Plan[bool]:
        """Keep what `MaxPer` lets through; when that is too little and the ranking goes on, ask for more of it."""
        limit, query = work.ask.diversify, work.query
        if not isinstance(limit, MaxPer) or query is None:
            return False
        items = [hit.item for hit in work.ranking]
        unknown = [item for item in items if item not in work.documents]
        work.documents |= yield from self.source.documents(unknown, query.generation)
        kept = at_most(work.ranking, lambda hit: values(work, limit.field, hit.item), limit.count)
        short = len(kept) < work.ask.length and len(items) >= query.k and query.k < DEEPEST
        work.query = replace(query, k=min(DEEPEST, DEEPER * query.k)) if short else query
        work.ranking = kept
        return short

    def _spread(self, work: Work, how: Mmr) -> Plan[None]:
        """Order the head of the ranking by `Mmr`."""
        assert work.query is not None
        head = work.ranking[: how.pool]
        parts = yield from self.source.contributions(work.query, [hit.item for hit in head])
        given = [given_by_codes(parts[hit.item]) for hit in head]
        # Sums of what the codes give are the same to the last bit on every engine; only boosts need the engine's own scores.
        scores = [hit.score if work.query.boosts else sum(g.values()) for hit, g in zip(head, given, strict=True)]
        order = marginal(scores, given, how.weight)
        work.ranking = [head[place] for place in order] + work.ranking[how.pool :]
