"""SIGKILL during `index`: the alias goes on answering the old generation, and a rerun finishes and clears up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from sparcode_es.codes import UserCodes
from sparcode_es.engines.base import Clause, Query
from sparcode_es.engines.elasticsearch.connection import ConnectionConfig, Server
from sparcode_es.engines.elasticsearch.engine import ElasticsearchEngine
from sparcode_es.engines.elasticsearch.generations import rollback
from sparcode_es.engines.elasticsearch.index import IndexOptions, index
from sparcode_es.engines.elasticsearch.inspector import ElasticsearchInspector
from sparcode_es.engines.elasticsearch.layout import chronicle_name, generations
from sparcode_es.engines.elasticsearch.update import update
from sparcode_es.errors import EngineError, NotFoundError
from sparcode_es.postings.artifact import Artifact
from sparcode_es.postings.build import build_postings
from sparcode_es.tables import StringTable

pytestmark = [pytest.mark.slow, pytest.mark.elasticsearch]
ITEMS, CODES, USERS = 4_000, 128, 2_000


class Scorer:
    """Random scores of one seed: another seed is another model."""

    num_items, num_possible_codes, shared_heads, bias = ITEMS, CODES, True, 0.0
    item_codes = None

    def __init__(self, seed: int) -> None:
        self.table = np.random.default_rng(seed).random((CODES, ITEMS), dtype=np.float32)
        self.model_hash, self.codebook_hash = f"feed{seed:04}", f"beef{seed:04}"

    def all_codes(self) -> np.ndarray:
        return np.stack([np.zeros(CODES), np.arange(CODES)], axis=1).astype(np.uint32)

    def score_codes(self, codes: np.ndarray, items: slice) -> np.ndarray:
        return self.table[codes[:, 1]][:, items]


class Seen:
    offsets = np.zeros(USERS + 1, dtype=np.uint64)
    items = np.zeros(0, dtype=np.uint32)


def make(folder: Path, seed: int) -> Artifact:
    codes = np.stack([np.zeros(USERS), np.arange(USERS) % CODES], axis=1).astype(np.uint32)
    return build_postings(
        Scorer(seed),
        folder,
        item_ids=StringTable.build(f"item {i}" for i in range(ITEMS)),
        item_docs=({"title": f"Title {i}", "attributes": {}} for i in range(ITEMS)),
        user_ids=StringTable.build(f"user {u}" for u in range(USERS)),
        user_codes=UserCodes(np.arange(USERS + 1).astype(np.uint64), codes, np.ones(USERS, dtype=np.float32)),
        user_seen=Seen(),
    )


def load(server: Server, artifact: Artifact, name: str, **options: object) -> str:
    return index(server, artifact, IndexOptions(name, **options), lambda what, more, total: None).generation  # type: ignore[arg-type]


def names(server: Server, name: str) -> set[str]:
    """The indices of an alias's generations; the list of generations is none."""
    found = server.call("GET", f"/{name}-*", params={"filter_path": "*.aliases"})
    return set(found or {}) - {chronicle_name(name)}


def answer(server: Server, name: str) -> tuple[str, list[str]]:
    engine = ElasticsearchEngine(server, name)
    return engine.info().model_hash, [hit.item for hit in engine.search(Query((Clause("7", 1.0),), 5))]


@pytest.fixture(scope="module", params=["elasticsearch_7", "elasticsearch_9"])
def url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param).url)


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Artifact, Artifact]:
    folder = tmp_path_factory.mktemp("generations")
    return make(folder / "one", 1), make(folder / "two", 2)


@pytest.mark.parametrize("moment", ["created", "uploading", "users", "codes"])
def test_killed_anywhere(url: str, artifacts: tuple[Artifact, Artifact], moment: str) -> None:
    name = f"killed-{moment}-there"
    server = Server(ConnectionConfig(url=url))
    first, second = artifacts
    before = load(server, first, name)
    answered = answer(server, name)
    command = [sys.executable, "-m", "sparcode_es_cli", "index", "--url", url, "--index", name]
    command += ["--postings", str(second.path)]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(server, name, before, moment, child)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert answer(server, name) == answered, "readers saw something else than the old generation"
    after = load(server, second, name)
    assert answer(server, name)[0] == second.model_hash
    assert names(server, name) == indices(name, before, after), "something was left behind"
    assert aliases(server, name) == indices(name, after)


def indices(name: str, *generations: str) -> set[str]:
    """The indices of some generations: items, users, codes."""
    return {g.replace(name, f"{name}{companion}", 1) for g in generations for companion in ("", "-users", "-codes")}


def aliases(server: Server, name: str) -> set[str]:
    """The indices that the three aliases stand for."""
    found = server.call("GET", f"/{name}-*/_alias")
    return {index_name for index_name, body in found.items() if body["aliases"]}


def wait_for(server: Server, name: str, before: str, moment: str, child: subprocess.Popen[bytes]) -> None:
    """Wait until the run in `child` has come to a moment; it must not have finished by then."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert child.poll() is None, "the run ended before it could be killed"
        new = [s for s in generations(server, name) if not before.endswith(s)]
        if new and reached(server, name, new[0], moment):
            return
    raise AssertionError(f"the run never came to {moment}")


def reached(server: Server, name: str, suffix: str, moment: str) -> bool:
    """Whether a generation is created, or the first documents of its items (`uploading`), users or codes are there."""
    if moment == "created":
        return True
    index_name = f"{name}-{suffix}" if moment == "uploading" else f"{name}-{moment}-{suffix}"
    try:
        stats = server.call("GET", f"/{index_name}/_stats/indexing")
    except NotFoundError:
        return False
    found = stats["indices"].get(index_name)
    return found is not None and found["primaries"]["indexing"]["index_total"] > 0


def test_rollback_and_pruning(url: str, artifacts: tuple[Artifact, Artifact]) -> None:
    server = Server(ConnectionConfig(url=url))
    first, second = artifacts
    old, new = load(server, first, "roll"), load(server, second, "roll")
    assert answer(server, "roll")[0] == second.model_hash
    assert aliases(server, "roll") == indices("roll", new)
    rollback(server, "roll")
    assert answer(server, "roll")[0] == first.model_hash
    assert aliases(server, "roll") == indices("roll", old)
    with pytest.raises(NotFoundError, match="older"):
        rollback(server, "roll")
    load(server, second, "roll", keep=1)
    assert names(server, "roll") == aliases(server, "roll")
    assert len(names(server, "roll")) == 3
    assert answer(server, "roll")[0] == second.model_hash


def test_a_generation_whose_codes_index_was_deleted(url: str, artifacts: tuple[Artifact, Artifact]) -> None:
    """It answers, and can be gone back to; inspected or updated, the message says what to do; a load takes its place."""
    server = Server(ConnectionConfig(url=url))
    old = load(server, artifacts[0], "lost")
    server.call("DELETE", f"/{old.replace('lost', 'lost-codes', 1)}")
    assert answer(server, "lost")[0] == artifacts[0].model_hash
    for suffix in (None, old.removeprefix("lost-")):
        with pytest.raises(EngineError, match=rf"no codes index of {old}.*load it again"):
            ElasticsearchInspector(ElasticsearchEngine(server, "lost", suffix))
    with pytest.raises(EngineError, match="leave out --update"):
        update(server, artifacts[0], "lost", lambda what, more, total: None)
    new = load(server, artifacts[1], "lost")
    assert aliases(server, "lost") == indices("lost", new)
    rollback(server, "lost")
    assert aliases(server, "lost") == {old, old.replace("lost", "lost-users", 1)}
    assert answer(server, "lost")[0] == artifacts[0].model_hash
    newest = load(server, artifacts[1], "lost", keep=1)
    assert names(server, "lost") == aliases(server, "lost") == indices("lost", newest)


def test_an_index_in_the_aliass_place_is_refused(url: str, artifacts: tuple[Artifact, Artifact]) -> None:
    server = Server(ConnectionConfig(url=url))
    server.call("PUT", "/taken")
    with pytest.raises(EngineError, match="taken"):
        load(server, artifacts[0], "taken")
    assert not names(server, "taken")
    server.call("DELETE", "/taken")
