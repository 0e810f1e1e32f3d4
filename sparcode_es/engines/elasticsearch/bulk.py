"""Uploading documents: `_bulk` in parallel, with retries of whole chunks and of single documents."""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import orjson

from sparcode_es.codes import item_term
from sparcode_es.engines.conditions import numbers_of
from sparcode_es.engines.elasticsearch.connection import PASSING, Server, blocked
from sparcode_es.engines.elasticsearch.layout import path_of
from sparcode_es.errors import EngineError, EngineUnavailableError
from sparcode_es.postings.artifact import Artifact
from sparcode_es.postings.grid import from_grid
from sparcode_es.postings.places import places
from sparcode_es.postings.profile import Profiler
from sparcode_es.tables import ID_BYTES

CHUNK_BYTES = 4 << 20
WORKERS = 3
ATTEMPTS = 9
BLOCKED = "cluster_block_exception"
Document = tuple[str, bytes]
"""A document's id, and its source as JSON."""


def item_documents(artifact: Artifact, only: np.ndarray | None = None) -> Iterator[Document]:
    """The items' documents: id, title, attributes, those of them that read as numbers, the code that stands for the item, how
    many codes it has, and code → score on the grid.

    only: the items wanted, bool [I].
    """
    terms = [artifact.term(row) for row in range(artifact.num_codes)]
    has_item_codes = artifact.manifest.counts.item_codes > 0
    for item, rows, grid in artifact.by_item():
        if only is not None and not only[item]:
            continue
        shown, name = artifact.item_doc(item), artifact.item_ids[item]
        source: dict[str, Any] = {"item": name, "attributes": shown.get("attributes") or {}, "postings": len(rows)}
        if shown.get("title") is not None:
            source["title"] = shown["title"]
        numbers = {key: found for key, value in source["attributes"].items() if (found := numbers_of(value))}
        if numbers:
            source["numbers"] = numbers
        if has_item_codes:
            source["code"] = item_term(item)
        if len(rows):
            source["codes"] = dict(zip([terms[row] for row in rows.tolist()], from_grid(grid).tolist(), strict=True))
        yield name, orjson.dumps(source)


def user_documents(artifact: Artifact, only: np.ndarray | None = None) -> Iterator[Document]:
    """The users' documents: id, codes with boosts, items seen. only: the users wanted, bool [U]."""
    for user in range(artifact.num_users) if only is None else np.flatnonzero(only).tolist():
        name = artifact.user_ids[user]
        codes = [{"term": each.term, "boost": each.boost} for each in artifact.user_clauses(user)]
        seen = [artifact.item_ids[item] for item in artifact.user_seen(user).tolist()]
        source = {"user": name, "model_hash": artifact.model_hash, "codes": codes, "seen": seen}
        yield name, orjson.dumps(source)


def code_documents(artifact: Artifact) -> Iterator[Document]:
    """The codes' documents: the profile of each, and of the busiest their place on a map."""
    profiler = Profiler(artifact)
    on_map = places(profiler)
    for row, profile in enumerate(profiler.profiles()):
        place = dict(zip("xy", on_map.get(row, ()), strict=False))
        yield profile.code, orjson.dumps({**profile.as_dict(), **place})


def check_ids(artifact: Artifact) -> None:
    """Raise `EngineError` for an item or user id that Elasticsearch cannot hold."""
    for kind, table in (("item", artifact.item_ids), ("user", artifact.user_ids)):
        for name in table:
            size = len(name.encode("utf-8", "surrogatepass"))
            if not 1 <= size <= ID_BYTES:
                raise EngineError(f"the {kind} id {name[:60]!r} has {size} bytes; Elasticsearch takes 1 to {ID_BYTES}.")
            if size != len(name.encode("utf-8", "ignore")):
                raise EngineError(f"the {kind} id {name[:60]!r} is not valid Unicode; Elasticsearch cannot hold it.")


def chunks(documents: Iterator[Document], limit: int = CHUNK_BYTES) -> Iterator[list[Document]]:
    """Documents in lists of about `limit` bytes."""
    chunk: list[Document] = []
    size = 0
    for document in documents:
        chunk.append(document)
        size += len(document[1])
        if size >= limit:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def upload(server: Server, index: str, documents: Iterator[Document], done: Callable[[int], None]) -> None:
    """Send all documents; `done` is told how many after each chunk. At most 2 × `WORKERS` chunks are held.

    Raises `EngineUnavailableError` when the retries are used up, `EngineError` for a document that is refused.
    """
    waiting: deque[Future[int]] = deque()
    with ThreadPoolExecutor(WORKERS) as pool:
        try:
            for chunk in chunks(documents):
                waiting.append(pool.submit(send, server, index, chunk))
                while len(waiting) >= 2 * WORKERS:
                    done(waiting.popleft().result())
            while waiting:
                done(waiting.popleft().result())
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def send(server: Server, index: str, chunk: list[Document], attempts: int = ATTEMPTS, refresh: bool = False) -> int:
    """Send one chunk, again for those documents only that met a full queue; returns how many documents it held.

    refresh: whether searches find them at once.
    """
    left, why = chunk, ""
    for attempt in range(1, attempts + 1):
        body = b"".join(orjson.dumps({"index": {"_id": name}}) + b"\n" + source + b"\n" for name, source in left)
        params = {"filter_path": "items.*.status,items.*.error,errors"} | ({"refresh": "true"} if refresh else {})
        answer = server.call("POST", path_of(index, "_bulk"), body, params=params, attempts=attempts)
        left, why = _again(server, left, answer)
        if not left:
            return len(chunk)
        time.sleep(min(10.0, server.pause * 2 ** (attempt - 1)) * random.uniform(0.5, 1.5))
    if BLOCKED in why:
        raise blocked(server.where, why)
    raise EngineUnavailableError(
        f"{server.where} kept refusing documents through {attempts} tries; try again later. It says: {why}"
    )


def _again(server: Server, sent: list[Document], answer: Any) -> tuple[list[Document], str]:
    """The documents to send once more, and why. Raises `EngineError` for the first that is refused for good."""
    again, why = [], ""
    for document, result in zip(sent, results_of(server, answer, len(sent)), strict=True):
        if result["status"] < 300:
            continue
        error = result.get("error", {})
        cause = error.get("caused_by", {}).get("reason", "")
        reason = f"{error.get('reason')} {cause}".strip()[:300]
        if result["status"] not in PASSING and error.get("type") != BLOCKED:
            raise EngineError(f"{server.where} refused the document {document[0]!r} ({result['status']}): {reason}")
        again.append(document)
        why = f"({result['status']}) {error.get('type')}: {reason}"
    return again, why


def results_of(server: Server, answer: Any, count: int) -> list[dict[str, Any]]:
    """What a bulk request's answer says of each of its `count` documents. Raises `EngineError` for another answer."""
    items = answer.get("items") if isinstance(answer, dict) else None
    if not isinstance(items, list) or len(items) != count:
        raise EngineError(f"{server.where} answered a bulk request with something else; is it Elasticsearch?")
    return [result for row in items for result in row.values()]


def sample_rows(count: int, size: int) -> list[int]:
    """At most `size` numbers below `count`, evenly spread."""
    return sorted(set(np.linspace(0, count - 1, min(size, count)).astype(int).tolist())) if count else []
