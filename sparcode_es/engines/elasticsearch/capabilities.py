"""What a server can do, asked rather than guessed."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sparcode_es.engines.elasticsearch.connection import MALFORMED, Server
from sparcode_es.errors import EngineAuthError, EngineError, NotFoundError

FIELD_TYPES = ("rank_features", "sparse_vector")
SPARSE_VECTOR_SINCE = (8, 11)
PRUNE_SINCE = {8: (8, 19), 9: (9, 1)}
EXCLUDE_VECTORS_SINCE = (9, 2)


@dataclass(frozen=True)
class Capabilities:
    """A server's version and what of it matters here."""

    version: tuple[int, ...]
    rank_features: bool

    @property
    def sparse_vector(self) -> bool:
        """Whether `sparse_vector` fields can be created."""
        return self.version >= SPARSE_VECTOR_SINCE


def knows_prune(version: tuple[int, ...]) -> bool:
    """Whether a `sparse_vector` field of this version prunes by default, and can be told not to."""
    return version >= PRUNE_SINCE.get(version[0], PRUNE_SINCE[8])


def leaves_vectors_out(version: tuple[int, ...]) -> bool:
    """Whether this version leaves vectors out of `_source` and rebuilds them, unless told not to."""
    return version >= EXCLUDE_VECTORS_SINCE


def choose_field_type(capabilities: Capabilities, wanted: str = "auto") -> str:
    """The field type for the codes, of `FIELD_TYPES`. `auto` takes the first that the server has.

    Raises `EngineError` when the server lacks it.
    """
    can = {"rank_features": capabilities.rank_features, "sparse_vector": capabilities.sparse_vector}
    number = ".".join(map(str, capabilities.version))
    if wanted != "auto":
        if wanted not in can:
            raise EngineError(f"the codes' field is {' or '.join(FIELD_TYPES)}, not {wanted!r}; use --field-type auto.")
        if not can[wanted]:
            raise EngineError(f"Elasticsearch {number} has no {wanted} fields here; use --field-type auto.")
        return wanted
    for name in FIELD_TYPES:
        if can[name]:
            return name
    raise EngineError(
        f"Elasticsearch {number} can hold no codes: it lacks the module mapper-extras (rank_features) "
        "and is older than 8.11 (sparse_vector)."
    )


def capabilities(server: Server) -> Capabilities:
    """Ask a server. The root endpoint is asked only where nodes may not be listed (serverless, few rights)."""
    refused: EngineAuthError | None = None
    try:
        path = "/_nodes/_local"
        answer = server.call("GET", path, params={"filter_path": "nodes.*.version,nodes.*.modules.name"})
        node = next(iter(answer["nodes"].values()))
        modules = {module["name"] for module in node.get("modules", [])}
        return Capabilities(_numbers(node["version"]), "mapper-extras" in modules)
    except EngineAuthError as error:
        if "(403)" not in str(error):
            raise
        refused = error
    except (NotFoundError, EngineError, *MALFORMED):
        pass
    try:
        answer = server.call("GET", "/")
    except EngineError:
        if refused is not None:
            raise refused from None
        raise
    try:
        return Capabilities(_numbers(answer["version"]["number"]), rank_features=True)
    except MALFORMED as error:
        raise EngineError(f"{server.where} does not say its version; is it Elasticsearch?") from error


def _numbers(version: str) -> tuple[int, ...]:
    found = re.match(r"(\d+)\.(\d+)\.(\d+)", version)
    if found is None:
        raise EngineError(f"the server's version {version!r} is not understood")
    return tuple(int(part) for part in found.groups())
