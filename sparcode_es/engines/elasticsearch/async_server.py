"""`Server` for asyncio: the same plans, performed while others run."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from sparcode_es.engines.elasticsearch.connection import (
    ConnectionConfig,
    headers_of,
    sound_options,
    translate_errors,
    where_of,
)
from sparcode_es.engines.plans import CONNECTIONS, Operation, Pause, Plan, T, arun
from sparcode_es.errors import MissingExtraError

if TYPE_CHECKING:
    from elasticsearch import AsyncElasticsearch


def connect_async(config: ConnectionConfig) -> AsyncElasticsearch:
    """An asynchronous client that does not retry by itself. Raises `MissingExtraError` without aiohttp."""
    try:
        import aiohttp  # noqa: F401
    except ImportError as error:
        raise MissingExtraError.of("asking asynchronously needs aiohttp", "async") from error
    from elasticsearch import AsyncElasticsearch

    with sound_options(config):
        return AsyncElasticsearch(**config.client_options(), connections_per_node=CONNECTIONS)


class AsyncServer:
    """The asynchronous client. Raises `MissingExtraError` without aiohttp."""

    def __init__(self, config: ConnectionConfig) -> None:
        self.where = config.where
        self._client = connect_async(config)

    @classmethod
    def of(cls, client: AsyncElasticsearch) -> AsyncServer:
        """The same around a client that the caller made, whose own retries are not used."""
        server = cls.__new__(cls)
        server.where = where_of(client)
        server._client = client.options(max_retries=0, retry_on_timeout=False)
        return server

    async def run(self, plan: Plan[T]) -> T:
        """Carry out a plan."""
        return await arun(plan, self.perform)

    async def perform(self, wanted: Operation) -> Any:
        """Do one thing that a plan asks for."""
        if isinstance(wanted, Pause):
            return await asyncio.sleep(wanted.seconds)
        client = self._client if wanted.timeout is None else self._client.options(request_timeout=wanted.timeout)
        with translate_errors(self.where):
            answer = await client.perform_request(
                wanted.method, wanted.path, params=wanted.params, headers=headers_of(wanted), body=wanted.body
            )
            return getattr(answer, "body", answer)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()
