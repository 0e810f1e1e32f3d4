"""The places that the page can ask: artifacts, and the generations of an alias."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from sparcode_es.engines.elasticsearch.connection import Server
from sparcode_es.engines.elasticsearch.engine import ElasticsearchEngine
from sparcode_es.engines.elasticsearch.generations import listed
from sparcode_es.engines.elasticsearch.inspector import ElasticsearchInspector
from sparcode_es.engines.elasticsearch.layout import live_generation
from sparcode_es.engines.elasticsearch.lookup import ElasticsearchLookup
from sparcode_es.engines.embedded import EmbeddedEngine
from sparcode_es.engines.embedded_inspector import EmbeddedInspector
from sparcode_es.engines.embedded_lookup import EmbeddedLookup
from sparcode_es.engines.inspector import Inspector
from sparcode_es.engines.lookup import Lookup
from sparcode_es.errors import NotFoundError
from sparcode_es.postings.artifact import Artifact
from sparcode_es.serving.recommender import Recommender

KEPT = 8
"""Generations that stay open."""
WHOLE = ("ready", "updating", "withdrawn")
"""States of generations that can be asked."""
MakeRecommender = Callable[[EmbeddedEngine | ElasticsearchEngine], Recommender]


@dataclass(frozen=True)
class Place:
    """One artifact or one generation, with all that can be asked of it."""

    key: str
    inspector: Inspector
    lookup: Lookup
    recommender: Recommender


@dataclass(frozen=True)
class Listed:
    """A place by name."""

    key: str
    """The generation's index, or the artifact's folder."""
    kind: str
    """`generation` or `artifact`."""
    live: bool
    """Whether it answers where no place is named."""


class Places(Protocol):
    """The places of one page."""

    def listed(self) -> list[Listed]:
        """All of them, the live one first."""
        ...

    def get(self, key: str) -> Place:
        """One of those that are listed; "" is the live one. Raises `NotFoundError`."""
        ...


class ArtifactPlaces:
    """Postings artifacts; the first answers where none is named."""

    def __init__(self, artifacts: Sequence[Artifact], make: MakeRecommender) -> None:
        self._places = {str(each.path): _of_artifact(each, make) for each in artifacts}

    def listed(self) -> list[Listed]:
        """See `Places.listed`."""
        return [Listed(key, "artifact", number == 0) for number, key in enumerate(self._places)]

    def get(self, key: str) -> Place:
        """See `Places.get`."""
        place = self._places.get(key or next(iter(self._places)))
        if place is None:
            raise NotFoundError(f"the page was not given an artifact {key!r}; it has {', '.join(self._places)}")
        return place


class IndexPlaces:
    """The generations of the alias `name`, and artifacts to compare them with.

    A question goes to one generation as a whole, users' codes and names of codes included: the alias is looked up once and may
    move in between.
    """

    def __init__(self, server: Server, name: str, artifacts: Sequence[Artifact], make: MakeRecommender) -> None:
        self._server, self._name, self._make = server, name, make
        self._artifacts: Mapping[str, Place] = {str(each.path): _of_artifact(each, make) for each in artifacts}
        self._open: dict[str, Place] = {}

    def listed(self) -> list[Listed]:
        """See `Places.listed`: of the generations those that are whole, the live one first, then the newest."""
        rows = [row for row in reversed(listed(self._server, self._name)) if row["state"] in WHOLE]
        found = [Listed(str(row["generation"]), "generation", bool(row["live"])) for row in rows]
        found.sort(key=lambda each: not each.live)
        return [*found, *(Listed(key, "artifact", False) for key in self._artifacts)]

    def get(self, key: str) -> Place:
        """See `Places.get`."""
        if key in self._artifacts:
            return self._artifacts[key]
        suffix = self._live() if not key else self._suffix(key)
        place = self._open.get(suffix) or self._opened(suffix)
        self._open = {**dict([*self._open.items()][1 - KEPT :]), suffix: place}
        return place

    def _live(self) -> str:
        suffix = live_generation(self._server, self._name)
        if suffix is None:
            raise NotFoundError(
                f"{self._server.where} has no index alias {self._name}; `sparcode-es index` makes one, --index names another"
            )
        return suffix

    def _suffix(self, key: str) -> str:
        if key not in {each.key for each in self.listed()}:
            raise NotFoundError(
                f"{self._server.where} has no generation {key!r} of {self._name}; it may have been deleted"
            )
        return key.removeprefix(f"{self._name}-")

    def _opened(self, suffix: str) -> Place:
        engine = ElasticsearchEngine(self._server, self._name, suffix)
        inspector = ElasticsearchInspector(engine)
        return Place(engine.indices.items, inspector, ElasticsearchLookup(engine), self._make(engine))


def _of_artifact(artifact: Artifact, make: MakeRecommender) -> Place:
    engine = EmbeddedEngine(artifact)
    return Place(str(artifact.path), EmbeddedInspector(engine), EmbeddedLookup(engine), make(engine))
