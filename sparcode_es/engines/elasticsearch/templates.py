"""The bodies that create indices, from the JSON files of the package `sparcode_es_mappings`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sparcode_es_mappings

from sparcode_es.engines.elasticsearch.capabilities import knows_prune, leaves_vectors_out


def items_body(
    field_type: str, version: tuple[int, ...], store_codes: bool = False, meta: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Settings and mappings of an items index, less what a server of this version does not know.

    store_codes: keep the codes in `_source` too, about 20 bytes a posting more. meta: what the mapping's `_meta` says.
    """
    body = sparcode_es_mappings.load(f"items-{field_type}")
    mappings = body["mappings"]
    if store_codes:
        del mappings["_source"]
    if field_type == "sparse_vector" and not knows_prune(version):
        del mappings["properties"]["codes"]["index_options"]
    if not leaves_vectors_out(version):
        body["settings"]["index"]["mapping"].pop("exclude_source_vectors", None)
    return _with_meta(body, meta)


def users_body(meta: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Settings and mappings of a users' companion index."""
    return _with_meta(sparcode_es_mappings.load("users"), meta)


def codes_body(meta: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Settings and mappings of a codes index: one document a code."""
    return _with_meta(sparcode_es_mappings.load("codes"), meta)


def chronicle_body() -> dict[str, Any]:
    """Settings and mappings of the index that lists generations."""
    return _with_meta(sparcode_es_mappings.load("generations"), None)


def _with_meta(body: dict[str, Any], meta: Mapping[str, Any] | None) -> dict[str, Any]:
    if meta:
        body["mappings"]["_meta"] = dict(meta)
    return body
