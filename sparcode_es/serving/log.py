"""The query log: one small document a recommendation request, written in the background, in batches.

It never holds up and never fails an answer: what does not fit into the queue is dropped and counted, what cannot be written is
lost and counted, said once. It holds no filter's values, no titles, and of a person at most the user id, by default as a
keyed hash.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import orjson

from sparcode_es.errors import ConfigError, SparcodeError
from sparcode_es.serving.log_file import FileSink

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch
    from typing_extensions import Self

    from sparcode_es.engines.elasticsearch.connection import ConnectionConfig

KEY = "SPARCODE_LOG_KEY"
"""The environment variable that holds the key of the hash."""
SHORTEST = 16
"""Bytes that a key must have."""
LOGGER = logging.getLogger("sparcode_es.query_log")


class Sink(Protocol):
    """Where documents go."""

    where: str
    """The place, as a sentence names it."""

    def write(self, documents: Sequence[bytes]) -> list[str]:
        """Append JSON documents; returns why single ones were refused. Raises `SparcodeError` when the request failed."""
        ...

    def close(self) -> None:
        """Give back what is open."""
        ...


@dataclass(frozen=True)
class LogOptions:
    """What is logged, and how long it may wait."""

    users: Literal["hash", "id", "none"] = "hash"
    """`hash`: HMAC-SHA-256 of the user id, 32 hexadecimal digits, so that one user's requests can be told to be one's and nothing
    else; `id`: the id itself; `none`: left out."""
    key: bytes | None = field(default=None, repr=False)
    """Of the hash; None: from the environment, `KEY`."""
    items: int = 0
    """How many item ids of an answer are logged, the first ones."""
    seconds: float = 2.0
    """A document waits at most so long for others to be written with."""
    batch: int = 500
    """Documents written at once."""
    capacity: int = 10_000
    """Documents that may wait; further ones are dropped."""

    def __post_init__(self) -> None:
        if self.users not in ("hash", "id", "none"):
            raise ConfigError(f"the query log has users as hash, id or none, not {self.users!r}")
        if self.users == "hash" and len(self.secret) < SHORTEST:
            raise ConfigError(
                f"the query log hashes user ids with a key of {SHORTEST} bytes or more: set {KEY}, or log them as they are or "
                "not at all (--log-users id | none)"
            )
        if self.items < 0 or self.seconds <= 0 or not 1 <= self.batch <= self.capacity:
            raise ConfigError(f"a query log needs items ≥ 0, seconds > 0 and 1 ≤ batch ≤ capacity, not {self}")

    @property
    def secret(self) -> bytes:
        """The key, b"" where there is none."""
        return self.key if self.key is not None else os.environ.get(KEY, "").encode()


@dataclass(frozen=True)
class LogCounts:
    """What became of the documents so far."""

    written: int = 0
    dropped: int = 0
    """The queue was full."""
    lost: int = 0
    """They could not be written."""


class QueryLog:
    """A bounded queue and the thread that empties it into a sink. Safe for several threads."""

    def __init__(self, sink: Sink, options: LogOptions | None = None) -> None:
        self.sink, self.options = sink, options or LogOptions()
        self._secret = self.options.secret
        self._waiting: deque[Mapping[str, Any]] = deque()
        self._change = threading.Condition()
        self._written = self._dropped = self._lost = 0
        self._closing = self._warned = False
        self._thread = threading.Thread(target=self._run, name="query-log", daemon=True)
        self._thread.start()

    @classmethod
    def to_file(cls, path: Path | str, options: LogOptions | None = None) -> Self:
        """A log of JSON lines, rotated by size."""
        return cls(FileSink(path), options)

    @classmethod
    def to_elasticsearch(
        cls, client: Elasticsearch | ConnectionConfig | str, index: str, options: LogOptions | None = None
    ) -> Self:
        """A log beside the alias `index`: a client of elasticsearch-py, a `ConnectionConfig`, or a URL. Closing it closes the
        client too."""
        from sparcode_es.engines.elasticsearch.connection import server_of
        from sparcode_es.engines.elasticsearch.query_log import ElasticsearchSink

        return cls(ElasticsearchSink(server_of(client), index, owned=True), options)

    def user(self, user_id: str) -> str | None:
        """A user as the log names them; None for not at all."""
        if self.options.users == "none":
            return None
        if self.options.users == "id":
            return plain(user_id)
        digest = hmac.new(self._secret, user_id.encode("utf-8", "surrogatepass"), hashlib.sha256)
        return digest.hexdigest()[:32]

    def add(self, documents: Sequence[Mapping[str, Any]]) -> None:
        """Take documents; never waits for the sink, never raises."""
        with self._change:
            first = not self._waiting
            room = 0 if self._closing else self.options.capacity - len(self._waiting)
            self._waiting.extend(documents[:room])
            self._dropped += max(0, len(documents) - room)
            if first or len(self._waiting) >= self.options.batch:
                self._change.notify()

    @property
    def counts(self) -> LogCounts:
        """What became of the documents so far."""
        with self._change:
            return LogCounts(self._written, self._dropped, self._lost)

    def close(self, seconds: float = 10.0) -> LogCounts:
        """Write what waits, for at most so many seconds; what is left then is lost. Further documents are dropped."""
        with self._change:
            self._closing = True
            self._change.notify()
        self._thread.join(seconds)
        with self._change:
            left, self._waiting = len(self._waiting), deque()
            self._lost += left
        if left:
            self._warn(f"{left} documents were not written in {seconds:g} s")
        if not self._thread.is_alive():
            self.sink.close()
        return self.counts

    def _run(self) -> None:
        while batch := self._next():
            try:
                refused = self.sink.write([orjson.dumps(document) for document in batch])
            except Exception as error:  # whatever it is, the thread lives on: answers must not depend on their log
                self._count(lost=len(batch))
                self._warn(str(error) if isinstance(error, SparcodeError) else repr(error))
            else:
                self._count(written=len(batch) - len(refused), lost=len(refused))
                for reason in refused[:1]:
                    self._warn(reason)

    def _next(self) -> list[Mapping[str, Any]]:
        """The next batch, as soon as it is full or has waited long enough; [] when all is over."""
        with self._change:
            deadline: float | None = None
            while not self._closing and len(self._waiting) < self.options.batch:
                if self._waiting and deadline is None:
                    deadline = time.monotonic() + self.options.seconds
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    break
                self._change.wait(left)
            return [self._waiting.popleft() for _ in range(min(self.options.batch, len(self._waiting)))]

    def _count(self, written: int = 0, lost: int = 0) -> None:
        with self._change:
            self._written += written
            self._lost += lost

    def _warn(self, reason: str) -> None:
        """Say it once: the counts say how it goes on."""
        if not self._warned:
            self._warned = True
            LOGGER.warning("the query log %s cannot be written: %s", self.sink.where, reason)


def plain(text: str) -> str:
    """A text that is Unicode: ids may hold what JSON cannot."""
    return text.encode("utf-8", "replace").decode()
