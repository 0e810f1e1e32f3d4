"""`Recommender` and `AsyncRecommender`: two thin drivers of `sparcode_es.serving.core`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from sparcode_es.engines.base import EngineInfo
from sparcode_es.engines.embedded import EmbeddedEngine
from sparcode_es.engines.local_source import LocalSource
from sparcode_es.engines.plans import UNLIMITED, Limits, Operation, arun, run
from sparcode_es.errors import ConfigError
from sparcode_es.postings.artifact import Artifact
from sparcode_es.serving.ask import Ask, Options
from sparcode_es.serving.core import Core
from sparcode_es.serving.crowd import Gate
from sparcode_es.serving.encoding import Encoder
from sparcode_es.serving.log import QueryLog
from sparcode_es.serving.results import Item, Reason, Recommendations

if TYPE_CHECKING:
    from elasticsearch import AsyncElasticsearch, Elasticsearch
    from typing_extensions import Self, Unpack

    from sparcode_es.engines.elasticsearch.connection import ConnectionConfig
    from sparcode_es.engines.elasticsearch.engine import ElasticsearchEngine


class Recommender:
    """Recommends from one engine, blocking; safe for several threads.

    Whoever is unknown, and everybody while the engine is down or too slow, gets popular items, marked as such with the reason
    (`Recommendations.source`): those of the last good answer or of `warm`, before either those of the `artifact`, without one
    none, and the reason says so. Only what the caller must change is raised: `ConfigError`, and a request that Elasticsearch
    refuses as wrong. With `fallback=False` every error is raised, none later than `limits.budget` allows. More than
    `limits.in_flight` calls at once are not queued: they are shed, the same way.
    """

    def __init__(self, core: Core, perform: Callable[[Operation], Any], close: Callable[[], None]) -> None:
        self._core, self._perform, self._close = core, perform, close

    @classmethod
    def from_elasticsearch(
        cls,
        client: Elasticsearch | ConnectionConfig | str,
        index: str,
        *,
        artifact: Path | str | None = None,
        encoder: Encoder | Path | str | None = None,
        checkpoint: Path | str | None = None,
        limits: Limits | None = None,
        fallback: bool = True,
        log: QueryLog | None = None,
    ) -> Self:
        """Over the alias `index` of a server: a client of elasticsearch-py, a `ConnectionConfig`, or a URL. Sends nothing yet.

        artifact: the postings that were indexed; hits are then scored again in float64 while the live generation holds them,
        and its popular items are known before the server has answered.
        encoder: for histories, a file of `sparcode-es export` (needs no torch); checkpoint: in its place, the model itself.
        log: where every request is written down (see `sparcode_es.serving.log`).
        A client that was given is closed by `close` too, and so is the log.
        """
        from sparcode_es.engines.elasticsearch.connection import server_of
        from sparcode_es.engines.elasticsearch.source import ElasticsearchSource

        server = server_of(client)
        source = ElasticsearchSource(server.where, index)
        core = Core(source, limits or Limits(), fallback, _encoder(encoder, checkpoint), _artifact(artifact), log=log)
        return cls(core, server.perform, server.close)

    @classmethod
    def from_artifact(
        cls,
        path: Path | str,
        *,
        encoder: Encoder | Path | str | None = None,
        checkpoint: Path | str | None = None,
        fallback: bool = True,
        log: QueryLog | None = None,
    ) -> Self:
        """Over a postings artifact in this process. Raises `ArtifactError`."""
        engine = EmbeddedEngine(Artifact.open(path))
        core = Core(LocalSource(engine), UNLIMITED, fallback, _encoder(encoder, checkpoint), log=log)
        return cls(core, _nothing_to_perform, engine.close)

    @classmethod
    def for_engine(
        cls,
        engine: EmbeddedEngine | ElasticsearchEngine,
        *,
        encoder: Encoder | None = None,
        limits: Limits = UNLIMITED,
        fallback: bool = True,
        log: QueryLog | None = None,
    ) -> Self:
        """Over an engine that is open, and that stays open; a log is closed by `close` all the same."""
        if isinstance(engine, EmbeddedEngine):
            return cls(Core(LocalSource(engine), limits, fallback, encoder, log=log), _nothing_to_perform, lambda: None)
        return cls(Core(engine.source, limits, fallback, encoder, log=log), engine.server.perform, lambda: None)

    def recommend(self, user: str | None = None, **options: Unpack[Options]) -> Recommendations:
        """A page of items for a user that the index knows, or for a `history`; see `Options`."""
        return run(self._core.many([Ask.of(user, **options)]), self._perform)[0]

    def recommend_many(self, asks: Iterable[str | Ask], **options: Unpack[Options]) -> list[Recommendations]:
        """`recommend` for each, in order, with one `_msearch` for all: users with the same options, or `Ask`s with their own."""
        return run(self._core.many(_asks(asks, options)), self._perform)

    def reasons(self, answer: Recommendations, item: Item | str) -> tuple[Reason, ...]:
        """Which codes gave an item of an answer its score; () for popular and pinned ones without codes. Raises `NotFoundError`
        for an item that is not there, and the engine's errors."""
        name = item if isinstance(item, str) else item.id
        return () if answer.query is None else run(self._core.reasons(answer.query, name), self._perform)

    @property
    def gate(self) -> Gate:
        """How many calls are on their way, and how many were shed."""
        return self._core.gate

    def check(self) -> EngineInfo:
        """Ask what is there. Raises what is wrong."""
        return run(self._core.check(), self._perform)

    def warm(self) -> EngineInfo:
        """`check`, and fetch the popular items, before the first user needs them."""
        return run(self._core.warm(), self._perform)

    def stand_in(self, artifact: Artifact) -> None:
        """Take the popular items of an artifact until the engine has given its own. Raises `NotFoundError` when it has none."""
        self._core.stand_in(artifact)

    def require_model(self, model_hash: str, codebook_hash: str) -> None:
        """Raise `MismatchError` unless the engine's index was built from this model."""
        run(self._core.require_model((model_hash, codebook_hash)), self._perform)

    @property
    def log(self) -> QueryLog | None:
        """Where requests are written down."""
        return self._core.log

    def close(self) -> None:
        """Write what the log still holds, and close the connections."""
        if self._core.log is not None:
            self._core.log.close()
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncRecommender:
    """`Recommender` for asyncio, with the same answers. Needs the extra `async`; a history is encoded in the event loop."""

    def __init__(
        self, core: Core, perform: Callable[[Operation], Awaitable[Any]], close: Callable[[], Awaitable[None]]
    ) -> None:
        self._core, self._perform, self._close = core, perform, close

    @classmethod
    def from_elasticsearch(
        cls,
        client: AsyncElasticsearch | ConnectionConfig | str,
        index: str,
        *,
        artifact: Path | str | None = None,
        encoder: Encoder | Path | str | None = None,
        checkpoint: Path | str | None = None,
        limits: Limits | None = None,
        fallback: bool = True,
        log: QueryLog | None = None,
    ) -> Self:
        """See `Recommender.from_elasticsearch`."""
        from sparcode_es.engines.elasticsearch.async_server import AsyncServer
        from sparcode_es.engines.elasticsearch.connection import ConnectionConfig
        from sparcode_es.engines.elasticsearch.source import ElasticsearchSource

        config = ConnectionConfig(url=client) if isinstance(client, str) else client
        server = AsyncServer(config) if isinstance(config, ConnectionConfig) else AsyncServer.of(config)
        source = ElasticsearchSource(server.where, index)
        core = Core(source, limits or Limits(), fallback, _encoder(encoder, checkpoint), _artifact(artifact), log=log)
        return cls(core, server.perform, server.close)

    async def recommend(self, user: str | None = None, **options: Unpack[Options]) -> Recommendations:
        """See `Recommender.recommend`."""
        return (await arun(self._core.many([Ask.of(user, **options)]), self._perform))[0]

    async def recommend_many(self, asks: Iterable[str | Ask], **options: Unpack[Options]) -> list[Recommendations]:
        """See `Recommender.recommend_many`."""
        return await arun(self._core.many(_asks(asks, options)), self._perform)

    async def reasons(self, answer: Recommendations, item: Item | str) -> tuple[Reason, ...]:
        """See `Recommender.reasons`."""
        name = item if isinstance(item, str) else item.id
        return () if answer.query is None else await arun(self._core.reasons(answer.query, name), self._perform)

    @property
    def gate(self) -> Gate:
        """See `Recommender.gate`."""
        return self._core.gate

    async def check(self) -> EngineInfo:
        """See `Recommender.check`."""
        return await arun(self._core.check(), self._perform)

    async def warm(self) -> EngineInfo:
        """See `Recommender.warm`."""
        return await arun(self._core.warm(), self._perform)

    async def close(self) -> None:
        """See `Recommender.close`."""
        if self._core.log is not None:
            await asyncio.to_thread(self._core.log.close)
        await self._close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def _encoder(encoder: Encoder | Path | str | None, checkpoint: Path | str | None) -> Encoder | None:
    if encoder is not None and checkpoint is not None:
        raise ConfigError("histories are encoded by an exported encoder or by a checkpoint: give one of them")
    if checkpoint is not None:
        from sparcode_es.serving.encoder import HistoryEncoder

        return HistoryEncoder.from_checkpoint(Path(checkpoint))
    if isinstance(encoder, (str, Path)):
        from sparcode_es.serving.exported import ExportedEncoder

        return ExportedEncoder.open(Path(encoder))
    return encoder


def _artifact(path: Path | str | None) -> Artifact | None:
    return None if path is None else Artifact.open(path)


def _asks(asks: Iterable[str | Ask], options: Options) -> list[Ask]:
    return [each if isinstance(each, Ask) else Ask.of(each, **options) for each in asks]


def _nothing_to_perform(wanted: Operation) -> Any:
    raise ConfigError(f"an engine of this process asks nobody, yet wanted {wanted}")
