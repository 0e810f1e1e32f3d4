"""The list of generations on real servers through their whole life, and what the dashboard shows of it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from engines.shelf import CODES, ITEMS, Scorer, make_shelf
from kibana.drawn import ALIAS, GENERATIONS, Shown, found, keep, picture
from sparcode_es import __version__
from sparcode_es.engines.elasticsearch import chronicle
from sparcode_es.engines.elasticsearch.connection import ConnectionConfig, Server
from sparcode_es.engines.elasticsearch.generations import delete, prune, rollback
from sparcode_es.engines.elasticsearch.index import IndexOptions, index
from sparcode_es.engines.elasticsearch.layout import generations, live_generation, path_of
from sparcode_es.postings.artifact import Artifact

pytestmark = [pytest.mark.slow, pytest.mark.elasticsearch]
LIST = f"{ALIAS}-generations"


@dataclass(frozen=True)
class Life(Shown):
    """Three loads, the first pruned away, then back to the second."""

    artifacts: list[Artifact]
    names: list[str]

    def listed(self) -> list[dict[str, Any]]:
        search = found("search", "generations")
        sort = [{field: {"order": way}} for field, way in search["attributes"]["sort"]]
        hits = self.ask(self.view(search), {"size": 500, "sort": sort})["hits"]["hits"]
        return [hit["_source"] for hit in hits]


def load(server: Server, artifact: Artifact) -> str:
    options = IndexOptions(ALIAS, keep=3, compact=False)
    return index(server, artifact, options, lambda what, more, total: None).generation


@pytest.fixture(scope="module", params=["elasticsearch_7", "elasticsearch_9"])
def life(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    server = Server(ConnectionConfig(url=request.getfixturevalue(request.param).url))
    server.call("DELETE", path_of(LIST), params={"ignore_unavailable": "true"})
    folder = tmp_path_factory.mktemp("life")
    artifacts = [make_shelf(folder / str(seed), Scorer(seed, f"feed0{seed}")) for seed in (1, 2, 3)]
    names = [load(server, artifact) for artifact in artifacts]
    prune(server, ALIAS, 2)
    assert rollback(server, ALIAS) == names[1]
    yield Life(server, artifacts, names)
    for suffix in generations(server, ALIAS):
        delete(server, ALIAS, suffix)
    server.call("DELETE", path_of(LIST))
    server.close()


def test_each_generation_is_a_document(life: Life) -> None:
    rows = life.listed()
    assert [row["generation"] for row in rows] == life.names[::-1]
    assert [(row["state"], row["live"]) for row in rows] == [
        ("withdrawn", False),
        ("ready", True),
        ("removed", False),
    ]
    for row, artifact in zip(rows, reversed(life.artifacts), strict=True):
        assert (row["items"], row["codes"], row["postings"]) == (ITEMS, artifact.num_codes, artifact.num_postings)
        assert row["codes"] >= CODES
        assert (row["users"], row["model_hash"]) == (artifact.num_users, artifact.model_hash)
        assert (row["artifact"], row["version"]) == (artifact.generation_hash, __version__)


def test_the_panel(life: Life) -> None:
    answer = life.panel("generations")
    rows = [hit["_source"] for hit in answer["hits"]["hits"]]
    assert [row["postings"] for row in rows] == [each.num_postings for each in reversed(life.artifacts)]
    assert [row["live"] for row in rows] == [False, True, False]
    for name in GENERATIONS:
        png = picture(name, answer)
        assert len(png) > len(picture(name, {"hits": {"hits": []}})), "the answer is not in the picture"
        keep(name, png)


def test_what_is_lost_or_missed_heals(life: Life) -> None:
    """A list that was deleted comes again with what there is; a generation that another tool deleted is found to be gone."""
    server, last = life.server, life.names[2]
    server.call("DELETE", path_of(LIST))
    chronicle.record(server, ALIAS)
    assert [row["generation"] for row in life.listed()] == life.names[:0:-1]
    delete(server, ALIAS, last.removeprefix(f"{ALIAS}-"))
    chronicle.record(server, ALIAS)
    assert [row["state"] for row in life.listed()] == ["removed", "ready"]
    again = load(server, life.artifacts[0])
    assert [(row["generation"], row["state"], row["live"]) for row in life.listed()] == [
        (again, "ready", True),
        (last, "removed", False),
        (life.names[1], "ready", False),
    ]


def test_a_list_that_cannot_be_written_is_a_warning(life: Life, caplog: pytest.LogCaptureFixture) -> None:
    """The load has been done: it does not fail for what only people read."""
    server = life.server
    server.call("PUT", f"{path_of(LIST)}/_settings", {"index": {"blocks": {"write": True}}})
    with caplog.at_level(logging.WARNING, "sparcode_es.generations"):
        generation = load(server, life.artifacts[1])
    (said,) = caplog.messages
    assert said.startswith(f"{LIST} could not be written: ")
    assert generation == f"{ALIAS}-{live_generation(server, ALIAS)}"
    server.call("PUT", f"{path_of(LIST)}/_settings", {"index": {"blocks": {"write": False}}})
    chronicle.record(server, ALIAS)
    assert life.listed()[0]["generation"] == generation
