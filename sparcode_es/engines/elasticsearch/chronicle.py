"""The index NAME-generations: a small document a generation, for people, the removed ones kept. Nothing answers from it.

It is written anew from what the generations' own indices say after each step that changes them, so what one step could not
write the next one does.
"""

from __future__ import annotations

import logging
from typing import Any

import orjson

from sparcode_es.engines.elasticsearch.bulk import send
from sparcode_es.engines.elasticsearch.connection import Server, understood
from sparcode_es.engines.elasticsearch.layout import (
    born,
    chronicle_name,
    generations,
    live_generation,
    path_of,
    state_of,
)
from sparcode_es.engines.elasticsearch.templates import chronicle_body
from sparcode_es.errors import NotFoundError, SparcodeError

LOGGER = logging.getLogger("sparcode_es.generations")
REMOVED = "removed"
MOST = 10_000
"""Documents read: Elasticsearch's default `index.max_result_window`."""
COPIED = ("model_hash", "artifact", "updated_from", "field_type", "version")
"""Of a generation's metadata."""
COUNTED = ("items", "users", "codes", "postings")


def record(server: Server, name: str) -> None:
    """Write what generations the alias `name` has. It never fails: what the server refuses is a warning of the log
    `sparcode_es.generations`, since the step that is recorded has been done."""
    try:
        with understood(server.where):
            _write(server, name)
    except SparcodeError as error:
        LOGGER.warning("%s could not be written: %s", chronicle_name(name), error)


def _write(server: Server, name: str) -> None:
    index = path_of(chronicle_name(name))
    documents = current(server, name)
    try:
        before = server.call("POST", f"{index}/_search", {"size": MOST})["hits"]["hits"]
    except NotFoundError:
        server.call("PUT", index, chronicle_body())
        before = []
    for each in (hit["_source"] for hit in before):
        documents.setdefault(each["generation"], {**each, "state": REMOVED, "live": False})
    if documents:
        chunk = [(key, orjson.dumps(source)) for key, source in documents.items()]
        send(server, chronicle_name(name), chunk, server.attempts, refresh=True)


def current(server: Server, name: str) -> dict[str, dict[str, Any]]:
    """The generations that there are: items index → document, fields as in `mappings/generations.json`."""
    live = live_generation(server, name)
    return {
        f"{name}-{suffix}": _document(f"{name}-{suffix}", suffix, meta, suffix == live)
        for suffix, meta in generations(server, name).items()
    }


def _document(generation: str, suffix: str, meta: dict[str, Any], live: bool) -> dict[str, Any]:
    counts = meta.get("counts") or {}
    return {
        "begun": born(suffix).isoformat(timespec="seconds"),
        "generation": generation,
        "state": state_of(meta),
        "live": live,
        **{key: meta[key] for key in COPIED if meta.get(key) is not None},
        **{key: counts[key] for key in COUNTED if key in counts},
    }
