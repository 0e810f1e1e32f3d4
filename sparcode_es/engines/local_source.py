"""An engine of this process as a `Source`: its plans ask for nothing."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace

from sparcode_es.engines.base import Contribution, EngineInfo, Hit, ItemDocument, Query, UserEntry
from sparcode_es.engines.embedded import EmbeddedEngine
from sparcode_es.engines.plans import Plan, done
from sparcode_es.errors import SparcodeError

POPULAR = 1000


class LocalSource:
    """The embedded engine's answers as plans (see `sparcode_es.engines.base.Source`); it has one generation only."""

    kind = "embedded"

    def __init__(self, engine: EmbeddedEngine) -> None:
        self.engine, self.name = engine, engine.artifact.path.name

    def info(self, generation: str | None = None) -> Plan[EngineInfo]:
        """See `Source.info`."""
        return done(self.engine.info())

    def users(self, user_ids: Sequence[str]) -> Plan[dict[str, UserEntry]]:
        """See `Source.users`."""
        generation, found = self.engine.artifact.generation_hash, self.engine.users(user_ids)
        return done({user_id: replace(entry, generation=generation) for user_id, entry in found.items()})

    def search_many(self, queries: Sequence[Query]) -> Plan[list[list[Hit] | SparcodeError]]:
        """See `Source.search_many`."""
        answers: list[list[Hit] | SparcodeError] = []
        for query in queries:
            try:
                answers.append(self.engine.search(query))
            except SparcodeError as error:
                answers.append(error)
        return done(answers)

    def documents(self, items: Sequence[str], generation: str | None = None) -> Plan[dict[str, ItemDocument]]:
        """See `Source.documents`."""
        return done(self.engine.documents(items))

    def code_items(self, terms: Sequence[str], generation: str | None = None) -> Plan[dict[str, ItemDocument]]:
        """See `Source.code_items`."""
        return done(self.engine.code_items(terms))

    def contributions(self, query: Query, items: Sequence[str]) -> Plan[dict[str, list[Contribution]]]:
        """See `Source.contributions`."""
        return done(self.engine.explain_many(query, items))

    @functools.cached_property
    def _popular(self) -> tuple[str, ...]:
        return tuple(self.engine.artifact.popular(POPULAR))

    def popular(self, generation: str | None = None) -> Plan[tuple[str, ...]]:
        """See `Source.popular`: counted over the users of the artifact."""
        return done(self._popular)
