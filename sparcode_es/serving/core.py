"""User → codes → query → page, as plans: what to ask and how to read the answers, whoever sends the requests."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from sparcode_es.engines.base import EngineInfo, Query, Source, UserEntry
from sparcode_es.engines.embedded import EmbeddedEngine
from sparcode_es.engines.plans import Limits, Plan, within
from sparcode_es.errors import (
    ConfigError,
    EngineError,
    EngineUnavailableError,
    MismatchError,
    NotFoundError,
    SparcodeError,
)
from sparcode_es.postings.artifact import Artifact
from sparcode_es.serving.arrange import Mmr
from sparcode_es.serving.ask import DEEPEST, Ask
from sparcode_es.serving.crowd import Gate
from sparcode_es.serving.encoding import Encoder, history_clauses, require_model, unknown_items
from sparcode_es.serving.fallback import Popular, popular_of, popular_offline, popular_page, some_popular_of
from sparcode_es.serving.log import QueryLog
from sparcode_es.serving.log_entry import Asked, entries
from sparcode_es.serving.ranker import Moved, Ranker
from sparcode_es.serving.results import Reason, Recommendations
from sparcode_es.serving.work import Work, page, shown

SPARE = 8
"""Hits asked for beyond those shown where they are scored again, so that a near tie at the cut is seen."""
FRESH_SECONDS = 30.0
"""How long the live generation is remembered for histories, and how soon popular items are tried again."""


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
        log: QueryLog | None = None,
    ) -> None:
        self.source, self.limits, self.fallback = source, limits, fallback
        self.encoder, self.artifact, self._clock, self.log = encoder, artifact, clock, log
        self._ranker = Ranker(source, artifact)
        self.gate = Gate(limits.in_flight)
        self.popular = Popular()
        self._local: EmbeddedEngine | None = None
        self._popular_tried = float("-inf")
        self._live: tuple[float, EngineInfo] | None = None

    def check(self) -> Plan[EngineInfo]:
        """Ask what is there. Raises what is wrong: no alias, another model, another artifact."""
        info = yield from within(self.source.info(), self.limits)
        if self.encoder is not None:
            require_model(info, self.encoder.hashes)
        if self.artifact is not None and info.artifact != self.artifact.generation_hash:
            raise MismatchError(
                f"{info.where} holds the artifact {info.artifact} in {info.generation}, not {self.artifact.generation_hash} of "
                f"{self.artifact.path}; give the artifact that was indexed, or index this one"
            )
        return info

    def warm(self) -> Plan[EngineInfo]:
        """`check`, and fetch the popular items."""
        info = yield from self.check()
        yield from within(self._fetch_popular(info.generation), self.limits)
        return info

    def stand_in(self, artifact: Artifact) -> None:
        """See `Recommender.stand_in`."""
        engine = EmbeddedEngine(artifact)
        self.popular, self._local = some_popular_of(engine), engine

    def require_model(self, hashes: tuple[str, str]) -> Plan[None]:
        """Raise `MismatchError` unless the live generation was built from this model and codebooks."""
        require_model((yield from within(self.source.info(), self.limits)), hashes)

    def many(self, asks: Sequence[Ask]) -> Plan[list[Recommendations]]:
        """An answer for each question. Raises only without `fallback`, and for what the caller must change."""
        begun, begin = time.time(), self._clock()
        works = [Work(ask) for ask in asks]
        reached = True
        try:
            yield from self._admitted(works)
        except SparcodeError as error:
            reached = False
            for work in works:
                work.fail(error)
        outcomes = [self._finished(work, reached) for work in works]
        if self.log is not None:
            asked = Asked(begun, self._clock() - begin, len(works))
            self.log.add(entries(self.log, self.source, asked, works, outcomes))
        return [_required(outcome) for outcome in outcomes]

    def _admitted(self, works: list[Work]) -> Plan[None]:
        """The answers, unless too many calls are on their way already."""
        if not self.gate.enter():
            raise EngineUnavailableError(f"shed: {self.gate.most} calls are in flight already")
        try:
            yield from within(self._answer(works), self.limits, self._clock)
        finally:
            self.gate.leave()

    def _finished(self, work: Work, reached: bool) -> Recommendations | SparcodeError:
        """The page, or the popular items and why, or what is to be raised."""
        if work.error is None:
            return page(work)
        if not self.fallback or _callers_own(work.error):
            return work.error
        ask, reason = self._without_seen(work), str(work.error)
        local = None if reached and self.popular.items else self._offline()
        if reached or local is None:
            answer = popular_page(self.popular, ask, reason, work.documents if reached else None)
        else:
            answer = popular_offline(local, self.popular, ask, reason)
        return replace(answer, unknown=work.unknown)

    def _offline(self) -> EmbeddedEngine | None:
        """What an artifact knows, while no server can be asked; a process that has had no popular items yet takes its."""
        if self._local is None and self.artifact is not None:
            self._local = EmbeddedEngine(self.artifact)
        if self._local is not None and not self.popular.items:
            self.popular = popular_of(self._local)
        return self._local

    def _without_seen(self, work: Work) -> Ask:
        ask = work.ask
        seen = set(work.entry.seen) - set(ask.pins.values()) if ask.exclude_seen else set()
        return replace(ask, exclude=ask.exclude | seen)

    def _answer(self, works: list[Work]) -> Plan[None]:
        try:
            yield from self._answer_once(works)
        except Moved:
            self._live = None
            works[:] = [Work(work.ask) for work in works]
            yield from self._again(works)

    def _again(self, works: list[Work]) -> Plan[None]:
        """A generation was removed between two requests: its successor answers."""
        try:
            yield from self._answer_once(works)
        except Moved as error:
            raise EngineError("the generation was removed twice while it was asked; try again") from error

    def _answer_once(self, works: list[Work]) -> Plan[None]:
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
            if work.ask.explain:
                yield from self._explain(work)
        if self.fallback:
            yield from self._keep_popular(works)

    def _explain(self, work: Work) -> Plan[None]:
        """Add the reasons; a ranking that cannot be explained is still one, where not every error is to be raised."""
        assert work.query is not None
        try:
            work.reasons = yield from self._reasons(work.query, shown(work))
        except SparcodeError as error:
            if not self.fallback:
                work.fail(error)

    def _rank(self, works: Sequence[Work]) -> Plan[None]:
        """Rank, and keep how long that took, also when it failed."""
        begin = self._clock()
        try:
            yield from self._ranker.rank(works)
        finally:
            for work in works:
                work.engine_seconds = self._clock() - begin

    def _know_users(self, works: Sequence[Work]) -> Plan[None]:
        users = [work.ask.user for work in works if work.ask.user is not None]
        found = (yield from self.source.users(users)) if users else {}
        for work in works:
            if work.ask.user is None:
                continue
            if work.ask.user in found:
                work.entry = found[work.ask.user]
            else:
                sentence = (
                    f"the index has no user {work.ask.user!r}; a model that reads histories takes one in their place"
                )
                work.fail(NotFoundError(sentence))

    def _know_histories(self, works: Sequence[Work]) -> Plan[None]:
        asked = [work for work in works if work.ask.history is not None]
        if not asked:
            return
        if self.encoder is None:
            raise ConfigError(
                "a history needs the model that encodes it: give `sparcode-es serve` its --encoder, a Recommender its encoder or "
                "its checkpoint"
            )
        try:
            info = yield from self._live_info()
            require_model(info, self.encoder.hashes)
        except SparcodeError as error:
            for work in asked:
                work.fail(error)
            return
        for work in asked:
            assert work.ask.history is not None
            try:
                work.unknown = unknown_items(self.encoder, work.ask.history)
                clauses = history_clauses(self.encoder, work.ask.history, work.unknown)
                work.entry = UserEntry(clauses, work.ask.history, info.generation)
            except NotFoundError as error:
                work.fail(error)

    def _live_info(self) -> Plan[EngineInfo]:
        now = self._clock()
        if self._live is None or now - self._live[0] > FRESH_SECONDS:
            self._live = (now, (yield from self.source.info()))
        return self._live[1]

    def _know_pins(self, works: Sequence[Work]) -> Plan[None]:
        """Which of the pinned items there are."""
        wanted = list(dict.fromkeys(item for work in works for item in work.ask.pins.values()))
        found = (yield from self.source.documents(wanted)) if wanted else {}
        for work in works:
            work.pins = {place: item for place, item in work.ask.pins.items() if item in found}
            work.documents = {item: found[item] for item in work.pins.values()}

    def _make_query(self, work: Work) -> None:
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

    def _know_shown(self, works: Sequence[Work]) -> Plan[None]:
        """Titles and attributes of what will be on the pages, in one request a generation."""
        missing: dict[str | None, dict[str, None]] = {}
        for work in works:
            ids = [item for item in shown(work) if item not in work.documents]
            missing.setdefault(work.entry.generation, {}).update(dict.fromkeys(ids))
        found = {}
        for generation, items in missing.items():
            found[generation] = (yield from self.source.documents(list(items), generation)) if items else {}
        for work in works:
            work.documents = {**found[work.entry.generation], **work.documents}

    def _keep_popular(self, works: Sequence[Work]) -> Plan[None]:
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
        self._local = None

    def reasons(self, query: Query, item: str) -> Plan[tuple[Reason, ...]]:
        """Which codes gave an item what, within the limits of one call. Raises `NotFoundError` for an item that is not there."""
        return (yield from within(self._reasons_of(query, item), self.limits, self._clock))

    def _reasons_of(self, query: Query, item: str) -> Plan[tuple[Reason, ...]]:
        found = (yield from self._reasons(query, [item]))[item]
        if not found and item not in (yield from self.source.documents([item], query.generation)):
            raise NotFoundError(f"the index has no item {item!r}")
        return found

    def _reasons(self, query: Query, items: Sequence[str]) -> Plan[dict[str, tuple[Reason, ...]]]:
        parts = yield from self.source.contributions(query, items)
        terms = list(dict.fromkeys(part.term for found in parts.values() for part in found))
        named = yield from self.source.code_items(terms, query.generation)
        return {
            item: tuple(Reason(part.term, part.boost, part.score, named.get(part.term)) for part in found)
            for item, found in parts.items()
        }


def _required(outcome: Recommendations | SparcodeError) -> Recommendations:
    if isinstance(outcome, SparcodeError):
        raise outcome
    return outcome


def _callers_own(error: SparcodeError) -> bool:
    """Whether no answer will ever come, since the question is wrong: popular items would hide that."""
    return isinstance(error, ConfigError)
