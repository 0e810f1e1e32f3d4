"""User → codes → query → page, as plans: what to ask and how to read the answers, whoever sends the requests."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from sparcode_es.codes import Clause, UserCodes, clauses_of
from sparcode_es.engines.base import EngineInfo, Hit, ItemDocument, Query, Source, UserEntry
from sparcode_es.engines.conditions import item_values
from sparcode_es.engines.plans import Limits, Plan, within
from sparcode_es.errors import ConfigError, EngineError, MismatchError, NotFoundError, SparcodeError
from sparcode_es.postings.artifact import Artifact
from sparcode_es.serving.arrange import MaxPer, Mmr, at_most, given_by_codes, marginal, pinned
from sparcode_es.serving.ask import DEEPEST, Ask
from sparcode_es.serving.fallback import Popular, popular_page
from sparcode_es.serving.rescore import rescored
from sparcode_es.serving.results import Item, Reason, Recommendations
from sparcode_es.tables import StringTable

SPARE = 8
"""Hits asked for beyond those shown where they are scored again, so that a near tie at the cut is seen."""
DEEPER = 4
"""How much further the ranking is read when diversity left too few."""
FRESH_SECONDS = 30.0
"""How long the live generation is remembered for histories, and how soon popular items are tried again."""


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


class _Moved(Exception):
    """The generation that was asked is there no more."""


@dataclass
class _Work:
    """One question on its way to an answer."""

    ask: Ask
    entry: UserEntry = field(default_factory=lambda: UserEntry(()))
    query: Query | None = None
    ranking: list[Hit] = field(default_factory=list)
    documents: dict[str, ItemDocument] = field(default_factory=dict)
    pins: dict[int, str] = field(default_factory=dict)
    reasons: dict[str, tuple[Reason, ...]] | None = None
    error: SparcodeError | None = None

    def fail(self, error: SparcodeError) -> None:
        """Keep the first thing that went wrong."""
        self.error = self.error or error


class Core:
    """Plans over a source. Keeps the last popular items; safe for several threads, which at worst fetch them twice."""

    def __init__(
        self,
        source: Source,
        limits: Limits,
        fallback: bool = True,
        encoder: Encoder | None = None,
        artifact: Artifact | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.source, self.limits, self.fallback = source, limits, fallback
        self.encoder, self.artifact, self._clock = encoder, artifact, clock
        self.popular = Popular()
        self._popular_tried = float("-inf")
        self._live: tuple[float, EngineInfo] | None = None

    def warm(self) -> Plan[EngineInfo]:
        """Ask what is there, and fetch the popular items. Raises what is wrong: no alias, another model, another artifact."""
        info = yield from within(self.source.info(), self.limits)
        if self.encoder is not None:
            require_model(info, self.encoder.hashes)
        if self.artifact is not None and info.artifact != self.artifact.generation_hash:
            raise MismatchError(
                f"{info.where} holds the artifact {info.artifact} in {info.generation}, not {self.artifact.generation_hash} of "
                f"{self.artifact.path}; give the artifact that was indexed, or index this one"
            )
        yield from within(self._fetch_popular(info.generation), self.limits)
        return info

    def require_model(self, hashes: tuple[str, str]) -> Plan[None]:
        """Raise `MismatchError` unless the live generation was built from this model and codebooks."""
        require_model((yield from within(self.source.info(), self.limits)), hashes)

    def many(self, asks: Sequence[Ask]) -> Plan[list[Recommendations]]:
        """An answer for each question. Raises only without `fallback`, and for what the caller must change."""
        works = [_Work(ask) for ask in asks]
        reached = True
        try:
            yield from within(self._answer(works), self.limits, self._clock)
        except SparcodeError as error:
            reached = False
            for work in works:
                work.fail(error)
        return [self._finished(work, reached) for work in works]

    def _finished(self, work: _Work, reached: bool) -> Recommendations:
        """The page, or the popular items and why."""
        if work.error is None:
            return _page(work)
        if not self.fallback or _callers_own(work.error):
            raise work.error
        return popular_page(
            self.popular, self._without_seen(work), str(work.error), work.documents if reached else None
        )

    def _without_seen(self, work: _Work) -> Ask:
        ask = work.ask
        seen = set(work.entry.seen) - set(ask.pins.values()) if ask.exclude_seen else set()
        return replace(ask, exclude=ask.exclude | seen)

    def _answer(self, works: list[_Work]) -> Plan[None]:
        try:
            yield from self._answer_once(works)
        except _Moved:
            self._live = None
            works[:] = [_Work(work.ask) for work in works]
            yield from self._again(works)

    def _again(self, works: list[_Work]) -> Plan[None]:
        """A generation was removed between two requests: its successor answers."""
        try:
            yield from self._answer_once(works)
        except _Moved as error:
            raise EngineError("the generation was removed twice while it was asked; try again") from error

    def _answer_once(self, works: list[_Work]) -> Plan[None]:
        yield from self._know_users(works)
        yield from self._know_histories(works)
        yield from self._know_pins(works)
        for work in works:
            if work.error is None:
                self._make_query(work)
        yield from self._rank([work for work in works if work.error is None])
        good = [work for work in works if work.error is None]
        yield from self._know_shown(good)
        for work in good:
            if work.ask.explain and work.query is not None:
                work.reasons = yield from self._reasons(work.query, _shown(work))
        if self.fallback:
            yield from self._keep_popular(works)

    def _know_users(self, works: Sequence[_Work]) -> Plan[None]:
        users = [work.ask.user for work in works if work.ask.user is not None]
        found = (yield from self.source.users(users)) if users else {}
        for work in works:
            if work.ask.user is None:
                continue
            if work.ask.user in found:
                work.entry = found[work.ask.user]
            else:
                work.fail(NotFoundError(f"the index has no user {work.ask.user!r}; a history would do in their place"))

    def _know_histories(self, works: Sequence[_Work]) -> Plan[None]:
        asked = [work for work in works if work.ask.history is not None]
        if not asked:
            return
        if self.encoder is None:
            raise ConfigError(
                "a history needs the model that encodes it: give the recommender its encoder or its checkpoint"
            )
        info = yield from self._live_info()
        require_model(info, self.encoder.hashes)
        for work in asked:
            assert work.ask.history is not None
            try:
                clauses = _clauses_of(self.encoder, work.ask.history)
                work.entry = UserEntry(clauses, work.ask.history, info.generation)
            except NotFoundError as error:
                work.fail(error)

    def _live_info(self) -> Plan[EngineInfo]:
        now = self._clock()
        if self._live is None or now - self._live[0] > FRESH_SECONDS:
            self._live = (now, (yield from self.source.info()))
        return self._live[1]

    def _know_pins(self, works: Sequence[_Work]) -> Plan[None]:
        """Which of the pinned items there are."""
        wanted = list(dict.fromkeys(item for work in works for item in work.ask.pins.values()))
        found = (yield from self.source.documents(wanted)) if wanted else {}
        for work in works:
            work.pins = {place: item for place, item in work.ask.pins.items() if item in found}
            work.documents = {item: found[item] for item in work.pins.values()}

    def _make_query(self, work: _Work) -> None:
        ask = work.ask
        if not work.entry.clauses and ask.text is None:
            work.fail(NotFoundError("the user has no codes"))
            return
        exclude = ask.exclude | set(work.pins.values()) | (set(work.entry.seen) if ask.exclude_seen else set())
        k = max(ask.length, ask.diversify.pool) if isinstance(ask.diversify, Mmr) else ask.length
        k = min(DEEPEST, k + (0 if self.artifact is None else SPARE))
        work.query = Query(
            work.entry.clauses, k, frozenset(exclude), ask.filter, ask.boosts, ask.text, work.entry.generation
        )

    def _rank(self, works: Sequence[_Work]) -> Plan[None]:
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

    def _search(self, works: Sequence[_Work]) -> Plan[list[list[Hit] | SparcodeError]]:
        queries = [work.query for work in works if work.query is not None]
        try:
            answers = yield from self.source.search_many(queries)
        except NotFoundError as error:
            raise _Moved from error
        if any(isinstance(answer, NotFoundError) for answer in answers):
            raise _Moved
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

    def _is_short(self, work: _Work) -> Plan[bool]:
        """Keep what `MaxPer` lets through; when that is too little and the ranking goes on, ask for more of it."""
        limit, query = work.ask.diversify, work.query
        if not isinstance(limit, MaxPer) or query is None:
            return False
        items = [hit.item for hit in work.ranking]
        unknown = [item for item in items if item not in work.documents]
        work.documents |= yield from self.source.documents(unknown, query.generation)
        kept = at_most(work.ranking, lambda hit: _values(work, limit.field, hit.item), limit.count)
        short = len(kept) < work.ask.length and len(items) >= query.k and query.k < DEEPEST
        work.query = replace(query, k=min(DEEPEST, DEEPER * query.k)) if short else query
        work.ranking = kept
        return short

    def _spread(self, work: _Work, how: Mmr) -> Plan[None]:
        """Order the head of the ranking by `Mmr`."""
        assert work.query is not None
        head = work.ranking[: how.pool]
        parts = yield from self.source.contributions(work.query, [hit.item for hit in head])
        given = [given_by_codes(parts[hit.item]) for hit in head]
        order = marginal([hit.score for hit in head], given, how.weight)
        work.ranking = [head[place] for place in order] + work.ranking[how.pool :]

    def _know_shown(self, works: Sequence[_Work]) -> Plan[None]:
        """Titles and attributes of what will be on the pages, in one request a generation."""
        missing: dict[str | None, dict[str, None]] = {}
        for work in works:
            ids = [item for item in _shown(work) if item not in work.documents]
            missing.setdefault(work.entry.generation, {}).update(dict.fromkeys(ids))
        found = {}
        for generation, items in missing.items():
            found[generation] = (yield from self.source.documents(list(items), generation)) if items else {}
        for work in works:
            work.documents = {**found[work.entry.generation], **work.documents}

    def _keep_popular(self, works: Sequence[_Work]) -> Plan[None]:
        """Fetch the popular items of a generation that is new to us; what fails is tried again later."""
        generation = next((work.entry.generation for work in works if work.query is not None), None)
        if self.popular.items and generation in (None, self.popular.generation):
            return
        if self._clock() - self._popular_tried < FRESH_SECONDS:
            return
        self._popular_tried = self._clock()
        try:
            yield from self._fetch_popular(generation)
        except SparcodeError:
            return

    def _fetch_popular(self, generation: str | None) -> Plan[None]:
        generation = generation or (yield from self.source.info()).generation
        items = yield from self.source.popular(generation)
        documents = yield from self.source.documents(items, generation)
        self.popular = Popular(generation, tuple(documents[item] for item in items if item in documents))

    def reasons(self, query: Query, items: Sequence[str]) -> Plan[dict[str, tuple[Reason, ...]]]:
        """Which codes gave some items what, within the limits of one call."""
        return (yield from within(self._reasons(query, items), self.limits, self._clock))

    def _reasons(self, query: Query, items: Sequence[str]) -> Plan[dict[str, tuple[Reason, ...]]]:
        parts = yield from self.source.contributions(query, items)
        terms = list(dict.fromkeys(part.term for found in parts.values() for part in found))
        named = yield from self.source.code_items(terms, query.generation)
        return {
            item: tuple(Reason(part.term, part.boost, part.score, named.get(part.term)) for part in found)
            for item, found in parts.items()
        }


def _values(work: _Work, name: str, item: str) -> list[str]:
    document = work.documents.get(item)
    return item_values(name, item, document.attributes if document else {})


def _shown(work: _Work) -> list[str]:
    """The ids on the page."""
    listed = pinned([hit.item for hit in work.ranking], work.pins, work.ask.length)
    return listed[work.ask.length - work.ask.k :]


def _page(work: _Work) -> Recommendations:
    scores = {hit.item: hit.score for hit in work.ranking}
    items = []
    for item in _shown(work):
        document = work.documents.get(item, ItemDocument(item, None))
        reasons = None if work.reasons is None else work.reasons.get(item, ())
        items.append(Item(item, document.title, scores.get(item), document.attributes, item not in scores, reasons))
    ask, entry = work.ask, work.entry
    return Recommendations(tuple(items), "codes", None, ask.page, ask.k, entry.generation, work.query, entry.seen)


def _clauses_of(encoder: Encoder, history: Sequence[str]) -> tuple[Clause, ...]:
    """The codes of somebody new; items that the model does not know are left out."""
    known = [item for item in history if encoder.item_ids.find(item) is not None]
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


def _callers_own(error: SparcodeError) -> bool:
    """Whether no answer will ever come, since the question is wrong: popular items would hide that."""
    return isinstance(error, ConfigError) or (isinstance(error, EngineError) and "(400)" in str(error))
