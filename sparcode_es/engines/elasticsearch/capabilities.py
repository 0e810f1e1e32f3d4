"""What a server can do, asked rather than guessed."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sparcode_es.engines.elasticsearch.connection import Server
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

    @property
    def prune_option(self) -> bool:
        """Whether a `sparse_vector` field prunes by default, and can be told not to."""
        return self.version >= PRUNE_SINCE.get(self.version[0], (8, 19))

    @property
    def keeps_vectors_out_of_source(self) -> bool:
        """Whether vectors are left out of `_source` and rebuilt, unless told not to."""
        return self.version >= EXCLUDE_VECTORS_SINCE

    def choose(self, wanted: str = "auto") -> str:
        """The field type for the codes. Raises `EngineError` when the server lacks it."""
        can = {"rank_features": self.rank_features, "sparse_vector": self.sparse_vector}
        number = ".".join(map(str, self.version))
        if wanted != "auto":
            if not can[wanted]:
                raise EngineError(f"Elasticsearch {number} has no {wanted} fields; leave --field-type out.")
            return wanted
        for name in ("sparse_vector", "rank_features"):
            if can[name]:
                return name
        raise EngineError(f"Elasticsearch {number} has neither sparse_vector nor the module mapper-extras.")


def capabilities(server: Server) -> Capabilities:
    """Ask a server. The root endpoint is asked only where nodes may not be listed (serverless, few rights)."""
    try:
        path = "/_nodes/_local"
        answer = server.call("GET", path, params={"filter_path": "nodes.*.version,nodes.*.modules.name"})
        node = next(iter(answer["nodes"].values()))
        modules = {module["name"] for module in node.get("modules", [])}
        return Capabilities(_numbers(node["version"]), "mapper-extras" in modules)
    except EngineAuthError as error:
        if "(403)" not in str(error):
            raise
    except (NotFoundError, EngineError, KeyError, TypeError, StopIteration):
        pass
    answer = server.call("GET", "/")
    try:
        return Capabilities(_numbers(answer["version"]["number"]), rank_features=True)
    except (KeyError, TypeError) as error:
        raise EngineError(f"{server.where} does not say its version; is it Elasticsearch?") from error


def _numbers(version: str) -> tuple[int, ...]:
    found = re.match(r"(\d+)\.(\d+)\.(\d+)", version)
    if found is None:
        raise EngineError(f"the server's version {version!r} is not understood")
    return tuple(int(part) for part in found.groups())
