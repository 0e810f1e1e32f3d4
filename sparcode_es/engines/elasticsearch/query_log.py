"""The query log of an alias in Elasticsearch: a data stream NAME-queries, or an index behind that alias where there are none.

`create` makes it, once, with the rights to make index templates; whoever writes then needs `create_doc` alone (`sparcode-es role
logger`). `roll` begins a new index behind it and deletes old ones: no lifecycle management is needed.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sparcode_es_mappings

from sparcode_es.engines.elasticsearch.bulk import results_of
from sparcode_es.engines.elasticsearch.connection import RefusedError, Server
from sparcode_es.engines.elasticsearch.layout import check_name, path_of, queries_name
from sparcode_es.errors import EngineAuthError, EngineError, NotFoundError

STREAM, ALIAS = "data stream", "index behind an alias"
ATTEMPTS = 3
SECONDS = 10.0
"""A batch may wait for the server so long, each time it is tried."""
DAY = 86_400.0


@dataclass(frozen=True)
class Log:
    """What holds the query log of an alias."""

    name: str
    kind: str
    """`STREAM` or `ALIAS`."""
    made: bool
    """Whether it was made just now."""


def create(server: Server, alias: str) -> Log:
    """Make the query log of an alias, or find it there; its index template is written again either way.

    The bodies are the same on every server. One without the module of data streams (a bare OSS build) refuses a template of
    one, and gets a plain index behind an alias. Raises what the server refuses: it needs `manage_index_templates`.
    """
    name = queries_name(check_name(alias))
    there = _kind(server, name)
    if there is None and _put_template(server, name, STREAM):
        _begin_stream(server, name)
        return Log(name, STREAM, True)
    if there is None:
        _put_template(server, name, ALIAS)
        server.call("PUT", path_of(f"{name}-000001"), {"aliases": {name: {"is_write_index": True}}})
        return Log(name, ALIAS, True)
    _put_template(server, name, there)
    return Log(name, there, False)


def _kind(server: Server, name: str) -> str | None:
    """What `name` is; None when there is nothing. Raises `EngineError` for an index of that name."""
    try:
        indices = list(server.call("GET", path_of(name, "_settings"), params={"filter_path": "*.settings.index.uuid"}))
    except NotFoundError:
        return None
    if name in indices:
        raise EngineError(f"{name} on {server.where} is an index, where the query log should be; move it away.")
    return STREAM if any(each.startswith(".ds-") for each in indices) else ALIAS


def _put_template(server: Server, name: str, kind: str) -> bool:
    """Write the index template; False when the server knows no data streams."""
    body: dict[str, Any] = sparcode_es_mappings.load("queries")
    body["index_patterns"] = [name if kind == STREAM else f"{name}-*"]
    if kind == ALIAS:
        del body["data_stream"]
    try:
        server.call("PUT", path_of("_index_template", f"sparcode-{name}"), body)
    except RefusedError:
        if kind == STREAM:
            return False
        raise
    return True


def _begin_stream(server: Server, name: str) -> None:
    """The template makes the stream with the first document that comes, also with one that is then refused, as this one is."""
    server.call("POST", path_of(name, "_bulk"), b'{"create":{}}\n{"@timestamp":0,"begin":true}\n')
    if _kind(server, name) != STREAM:
        raise EngineError(f"{server.where} did not make the data stream {name}; may indices be created there?")


def roll(server: Server, alias: str, days: float) -> list[str]:
    """Begin a new index behind the log when its newest is a day old, and delete those that hold only what is older than
    `days` days. Returns the deleted. Raises `NotFoundError` without a log."""
    name = queries_name(check_name(alias))
    if _kind(server, name) is None:
        raise NotFoundError(f"{server.where} has no query log {name}; `sparcode-es log create` makes it.")
    server.call("POST", path_of(name, "_rollover"), {"conditions": {"max_age": "1d"}})
    params = {"filter_path": "*.settings.index.creation_date", "expand_wildcards": "all"}
    found = server.call("GET", path_of(name, "_settings"), params=params)
    begun = sorted((int(each["settings"]["index"]["creation_date"]), index) for index, each in found.items())
    # An index was written until its successor was begun; the last one is being written.
    old = [index for (_, index), (ended, _) in itertools.pairwise(begun) if _older(ended, days)]
    for index in old:
        server.call("DELETE", path_of(index))
    return old


def _older(milliseconds: int, days: float) -> bool:
    return time.time() - milliseconds / 1000 >= days * DAY


class ElasticsearchSink:
    """Appends documents to the query log of an alias (see `sparcode_es.serving.log.Sink`). Made when it is first needed.

    owned: whether `close` closes the server's connections.
    """

    def __init__(self, server: Server, alias: str, owned: bool = False) -> None:
        self._owned = owned
        self.server, self.alias, self.name = server, alias, queries_name(check_name(alias))
        self.where = f"{self.name} on {server.where}"
        self._ready = False

    def write(self, documents: Sequence[bytes]) -> list[str]:
        """Append JSON documents; returns why single ones were refused."""
        self._prepare()
        body = b"".join(b'{"create":{}}\n' + document + b"\n" for document in documents)
        params = {"filter_path": "errors,items.*.status,items.*.error.reason"}
        answer = self.server.call(
            "POST", path_of(self.name, "_bulk"), body, params=params, attempts=ATTEMPTS, timeout=SECONDS
        )
        return [
            f"{self.where} refused a document ({each['status']}): {str((each.get('error') or {}).get('reason'))[:300]}"
            for each in results_of(self.server, answer, len(documents))
            if each["status"] >= 300
        ]

    def _prepare(self) -> None:
        """Make the log where there is none. Who may only append may not even see whether there is: then it is taken to be."""
        if self._ready:
            return
        try:
            if _kind(self.server, self.name) is None:
                create(self.server, self.alias)
        except EngineAuthError as error:
            if "(403)" not in str(error):
                raise
        self._ready = True

    def close(self) -> None:
        """Close the connections, where they are this sink's."""
        if self._owned:
            self.server.close()
