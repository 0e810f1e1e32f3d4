"""Real Elasticsearch servers, started when the first test asks for one and ended with the session; made-up Deezer data."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

# The models of the tests are so small that a second thread only waits; child processes inherit this. Before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A test's server lives for minutes: what its best compiler takes, it never gives back. `LocalNode` passes this on.
os.environ.setdefault("ES_JAVA_OPTS", "-XX:TieredStopAtLevel=1")

import pytest
from hypothesis import settings

from own_variables import own_variables
from sparcode_es.data.dataset import Dataset
from sparcode_es.data.deezer import import_deezer
from sparcode_es.data.deezer_synthetic import SyntheticOptions, write_synthetic
from sparcode_es.engines.node import LocalNode
from sparcode_es.errors import EngineUnavailableError

# How long an example takes says what else the machine does: speed belongs in benchmarks.
settings.register_profile("sparcode-es", deadline=None)
settings.load_profile("sparcode-es")


@pytest.fixture
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of the environment's variables of ours."""
    for name in own_variables():
        monkeypatch.delenv(name)


def start(version: str, **options: object) -> Iterator[LocalNode]:
    """A running server. One that cannot start is a failure when SPARCODE_REQUIRE_ES is 1, else a skip."""
    node = LocalNode(version, heap="512m", **options)  # type: ignore[arg-type]
    try:
        node.start()
    except EngineUnavailableError as error:
        if os.environ.get("SPARCODE_REQUIRE_ES") == "1":
            raise
        pytest.skip(f"no Elasticsearch {version}: {error}")
    yield node
    node.stop()


@pytest.fixture(scope="session")
def elasticsearch_7() -> Iterator[LocalNode]:
    """Elasticsearch 7.17.29: `rank_features`."""
    yield from start("7.17.29")


@pytest.fixture(scope="session")
def elasticsearch_9() -> Iterator[LocalNode]:
    """Elasticsearch 9.4.5: `sparse_vector`."""
    yield from start("9.4.5")


@pytest.fixture(scope="session")
def elasticsearch_secure() -> Iterator[LocalNode]:
    """Elasticsearch 7.17.29 that wants the password of the user `elastic` (`node.password`)."""
    yield from start("7.17.29", security=True)


@pytest.fixture(scope="session")
def deezer_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of made-up files with Deezer's schema: 210 training users, 60 and 30 cold ones, 150 songs."""
    folder = tmp_path_factory.mktemp("deezer") / "files"
    write_synthetic(folder, SyntheticOptions(users=300, songs=150, listened=20, tastes=8, latent=8))
    return folder


@pytest.fixture(scope="session")
def deezer(deezer_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The data folder of `deezer_files`, TT-SVD."""
    return import_deezer(deezer_files, tmp_path_factory.mktemp("deezer-data") / "svd", "deezer", "svd")
