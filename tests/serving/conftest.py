"""The small world that the recommender's tests ask: its postings, and a server that stands for Elasticsearch."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from serving.small_world import FakeServer, build
from sparcode_es.postings.artifact import Artifact


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return build(tmp_path_factory.mktemp("small-world") / "postings")


@pytest.fixture
def fake(artifact: Artifact) -> Iterator[FakeServer]:
    server = FakeServer(artifact)
    yield server
    server.close()
