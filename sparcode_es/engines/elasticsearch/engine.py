"""The engine on Elasticsearch: the plans of `source`, carried out one after the other."""

from __future__ import annotations

import json
from collections.abc import Sequence

from sparcode_es.engines.base import Contribution, EngineInfo, Hit, ItemDocument, Query, UserEntry
from sparcode_es.engines.elasticsearch import request
from sparcode_es.engines.elasticsearch.connection import Server
from sparcode_es.engines.elasticsearch.source import ElasticsearchSource
from sparcode_es.errors import NotFoundError, SparcodeError


class ElasticsearchEngine:
    """Answers queries from the alias `name`, or from its generation `suffix` alone (see `sparcode_es.engines.base.Engine`).

    Whatever is asked raises `NotFoundError` without the alias, and `EngineError` when it is an index or not one of ours; `info`
    asks for that alone.
    """

    def __init__(self, server: Server, name: str, suffix: str | None = None) -> None:
        self.server, self.source, self.name = server, ElasticsearchSource(server.where, name, suffix), name
        self.suffix, self.indices = suffix, self.source.indices

    def info(self) -> EngineInfo:
        """What the alias stands for now."""
        return self.server.run(self.source.info())

    def search(self, query: Query) -> list[Hit]:
        """See `Engine.search`."""
        return self.search_many([query])[0]

    def search_many(self, queries: Sequence[Query]) -> list[list[Hit]]:
        """See `Engine.search_many`."""
        return [_required(answer) for answer in self.server.run(self.source.search_many(queries))]

    def user(self, user_id: str) -> UserEntry:
        """See `Engine.user`: from the companion index."""
        entry = self.users([user_id]).get(user_id)
        if entry is None:
            raise NotFoundError(
                f"the index {self.indices.users} has no user {user_id!r}; give --history with the items they know."
            )
        return entry

    def users(self, user_ids: Sequence[str]) -> dict[str, UserEntry]:
        """See `Engine.users`: one `_mget` of the companion index."""
        return self.server.run(self.source.users(user_ids))

    def documents(self, items: Sequence[str]) -> dict[str, ItemDocument]:
        """See `Engine.documents`."""
        return self.server.run(self.source.documents(items))

    def code_items(self, terms: Sequence[str]) -> dict[str, ItemDocument]:
        """See `Engine.code_items`."""
        return self.server.run(self.source.code_items(terms))

    def explain(self, query: Query, item: str) -> list[Contribution]:
        """See `Engine.explain`."""
        if item not in self.documents([item]):
            raise NotFoundError(f"the index {self.indices.items} has no item {item!r}")
        return self.explain_many(query, [item])[item]

    def explain_many(self, query: Query, items: Sequence[str]) -> dict[str, list[Contribution]]:
        """See `Engine.explain_many`: one `_msearch`, however many items."""
        return self.server.run(self.source.contributions(query, items))

    def request(self, query: Query) -> str:
        """See `Engine.request`."""
        body = request.shown_body(query, str(self.info().field_type))
        preference = request.routing(query)["preference"]
        return f"GET {self.indices.items}/_search?preference={preference}\n{json.dumps(body, indent=2)}"

    def close(self) -> None:
        """Close the connections."""
        self.server.close()


def _required(answer: list[Hit] | SparcodeError) -> list[Hit]:
    if isinstance(answer, SparcodeError):
        raise answer
    return answer
