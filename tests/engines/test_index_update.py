"""`index --update` on real servers: the live generation comes to hold the updated artifact, whatever happens on the way."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from sparcode_es_cli.main import cli

from serving.fresh_world import Updates, World, log_of, random_world
from sparcode_es.config import PostingsConfig
from sparcode_es.engines.base import Query
from sparcode_es.engines.elasticsearch import update as update_module
from sparcode_es.engines.elasticsearch.connection import ConnectionConfig, Server
from sparcode_es.engines.elasticsearch.engine import ElasticsearchEngine
from sparcode_es.engines.elasticsearch.generations import listed
from sparcode_es.engines.elasticsearch.index import IndexOptions, index
from sparcode_es.engines.elasticsearch.inspector import ElasticsearchInspector
from sparcode_es.engines.elasticsearch.layout import read_meta
from sparcode_es.engines.elasticsearch.runs import owner
from sparcode_es.engines.elasticsearch.update import UpdateReport, update
from sparcode_es.engines.embedded import EmbeddedEngine
from sparcode_es.engines.embedded_inspector import EmbeddedInspector
from sparcode_es.errors import EngineError, MismatchError, VerificationError
from sparcode_es.postings.artifact import Artifact

pytestmark = [pytest.mark.slow, pytest.mark.elasticsearch]


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Updates:
    return Updates(tmp_path_factory.mktemp("updates"))


@pytest.fixture(scope="module", params=["elasticsearch_7", "elasticsearch_9"])
def url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param).url)


@pytest.fixture
def server(url: str) -> Server:
    return Server(ConnectionConfig(url=url))


def loaded(server: Server, artifact: Artifact, name: str) -> None:
    index(server, artifact, IndexOptions(name), lambda what, more, total: None)


def updated(server: Server, artifact: Artifact, name: str) -> UpdateReport:
    return update(server, artifact, name, lambda what, more, total: None)


def assert_holds(server: Server, artifact: Artifact, name: str) -> None:
    """Every user's entry, and what is found for them, are those of the embedded engine."""
    engine, expected = ElasticsearchEngine(server, name), EmbeddedEngine(artifact)
    for user in artifact.user_ids:
        entry = expected.user(user)
        assert engine.user(user) == entry
        query = Query(entry.clauses, 50)
        found = {hit.item: hit.score for hit in engine.search(query)}
        assert found == pytest.approx({hit.item: hit.score for hit in expected.search(query)}, rel=1e-5)
    terms = [artifact.term(row) for row in range(artifact.num_codes)]
    assert ElasticsearchInspector(engine).codes(terms) == EmbeddedInspector(expected).codes(terms)


def test_the_live_generation_comes_to_hold_the_update(server: Server, artifacts: Updates) -> None:
    loaded(server, artifacts.base, "fresh")
    before = read_meta(server, "fresh")
    report = updated(server, artifacts.first, "fresh")
    assert report.generation == before["generation"], "no new generation"
    assert report.items == artifacts.first.manifest.updates[-1].changed.items > 0
    assert report.users == 2
    assert_holds(server, artifacts.first, "fresh")
    meta = read_meta(server, "fresh")
    assert meta["artifact"] == artifacts.first.generation_hash
    assert meta["updated_from"] == artifacts.base.generation_hash
    assert meta["counts"]["folded_events"] == 4
    assert meta["state"] == "ready"
    assert "update" not in meta
    assert ElasticsearchEngine(server, "fresh").info().num_users == artifacts.first.num_users
    again = updated(server, artifacts.first, "fresh")
    assert (again.items, again.users) == (0, 0)
    assert listed(server, "fresh")[0]["artifact"] == artifacts.first.generation_hash


def test_items_that_only_lose_postings(server: Server, tmp_path: Path) -> None:
    """A cut per code: what comes in pushes something else out."""
    world = World(tmp_path, random_world(4)[0], PostingsConfig(max_postings_per_code=2))
    loaded(server, world.artifact, "cut")
    first = world.update(world.artifact, log_of({"u1": [3, 5, 7], "u2": [3]}), "first")
    lost = first.postings_by_item < world.artifact.postings_by_item
    assert lost.any()
    updated(server, first, "cut")
    assert_holds(server, first, "cut")


def test_two_updates_at_once(server: Server, artifacts: Updates) -> None:
    loaded(server, artifacts.base, "both")
    report = updated(server, artifacts.second, "both")
    assert report.updated_from == artifacts.base.generation_hash
    assert_holds(server, artifacts.second, "both")


def test_what_does_not_follow_from_the_live_generation_is_refused(server: Server, artifacts: Updates) -> None:
    loaded(server, artifacts.first, "line")
    for artifact in (artifacts.other, artifacts.base):
        with pytest.raises(MismatchError, match="leave out --update"):
            updated(server, artifact, "line")
    assert_holds(server, artifacts.first, "line")


def test_searches_see_the_update_at_its_end_only(
    server: Server, artifacts: Updates, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded(server, artifacts.base, "end")
    query = Query(EmbeddedEngine(artifacts.base).user("u1").clauses, 50)
    expected = EmbeddedEngine(artifacts.base).search(query)
    assert expected != EmbeddedEngine(artifacts.second).search(query)
    seen: list[dict[str, float]] = []
    upload = update_module.bulk.upload

    def watched(server: Server, index_name: str, *arguments: Any) -> None:
        upload(server, index_name, *arguments)
        seen.append({hit.item: hit.score for hit in ElasticsearchEngine(server, "end").search(query)})

    monkeypatch.setattr(update_module.bulk, "upload", watched)
    updated(server, artifacts.second, "end")
    assert len(seen) == 3
    for found in seen:
        assert found == pytest.approx({hit.item: hit.score for hit in expected}, rel=1e-5)
    assert_holds(server, artifacts.second, "end")


def test_killed_on_the_way_it_is_finished_by_a_rerun(server: Server, url: str, artifacts: Updates) -> None:
    loaded(server, artifacts.base, "killed")
    script = (
        "import os, signal, sys\n"
        "from sparcode_es.engines.elasticsearch import update\n"
        "upload = update.bulk.upload\n"
        "def once(server, index, documents, done):\n"
        "    upload(server, index, documents, done)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "update.bulk.upload = once\n"
        "from sparcode_es_cli.main import main\n"
        f"main(['index', '--url', {url!r}, '--index', 'killed', '--postings', {str(artifacts.first.path)!r}, '--update'])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert listed(server, "killed")[0]["state"] == "updating"
    assert read_meta(server, "killed")["artifact"] == artifacts.base.generation_hash
    with pytest.raises(MismatchError, match="killed half-way"):
        updated(server, artifacts.other, "killed")
    updated(server, artifacts.second, "killed")
    assert_holds(server, artifacts.second, "killed")
    assert listed(server, "killed")[0]["state"] == "ready"


def test_a_running_update_keeps_others_out(server: Server, artifacts: Updates) -> None:
    loaded(server, artifacts.base, "busy")
    meta = read_meta(server, "busy")
    generation = meta.pop("generation")
    run = {"to": artifacts.first.generation_hash, "owner": {**owner(), "space": "elsewhere"}}
    server.call("PUT", f"/{generation}/_mapping", {"_meta": {**meta, "update": run}})
    with pytest.raises(EngineError, match="loading or updating"):
        updated(server, artifacts.first, "busy")
    with pytest.raises(EngineError, match="loading or updating"):
        loaded(server, artifacts.first, "busy")


def test_a_damaged_generation_fails_its_check(server: Server, artifacts: Updates) -> None:
    loaded(server, artifacts.base, "damaged")
    items = read_meta(server, "damaged")["generation"]
    kept = int(np.argmin(artifacts.first.last_updates()[0]))
    assert artifacts.first.last_updates()[0][kept] == 0
    server.call("DELETE", f"/{items}/_doc/{artifacts.base.item_ids[kept]}", params={"refresh": "true"})
    with pytest.raises(VerificationError, match="leave out --update"):
        updated(server, artifacts.first, "damaged")


@pytest.mark.usefixtures("no_settings")
def test_the_command(url: str, server: Server, artifacts: Updates) -> None:
    loaded(server, artifacts.base, "command")
    options = ["index", "--url", url, "--index", "command", "--postings", str(artifacts.first.path), "--update"]
    done = CliRunner().invoke(cli, [*options, "--json"])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["updated_from"] == artifacts.base.generation_hash
    assert report["users"] == 2
