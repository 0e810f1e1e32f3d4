"""`sparcode-es demo` end to end on a small data folder: the embedded engine, and a real server where one is named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from sparcode_es_cli.main import cli

from sparcode_es.engines.node.local import LocalNode

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demo folder whose data are a few users of a small world instead of MovieLens."""
    folder = tmp_path_factory.mktemp("demo")
    rng = np.random.default_rng(0)
    starts = rng.integers(0, 40, 60)
    lines = [
        " ".join([f"{u + 1}", *(f"i{(start + step) % 40}" for step in range(12))]) for u, start in enumerate(starts)
    ]
    log = folder / "log.txt"
    log.write_text("\n".join(lines) + "\n")
    arguments = ["data", "import", str(log), "--format", "sequences", "--out", str(folder / "data")]
    assert CliRunner().invoke(cli, arguments).exit_code == 0
    return folder


def demo(out: Path, *more: str) -> str:
    result = CliRunner().invoke(cli, ["demo", "--out", str(out), *more], env={"ES_URL": ""})
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_embedded_engine_ends_with_recommendations_and_the_table(out: Path) -> None:
    text = demo(out, "--user", "7", "-k", "3")
    assert "user 7" in text
    assert all(f"\n{model} " in text for model in ("SparCode", "two-tower", "popularity"))
    assert "60 users on the embedded engine, recall@50 1.0000" in text


def test_a_named_server_gives_the_same_answer(out: Path, elasticsearch_9: LocalNode) -> None:
    embedded = json.loads(demo(out, "--json"))
    indexed = json.loads(demo(out, "--json", "--url", elasticsearch_9.url))
    assert indexed["quality"] == embedded["quality"]
    items = [[hit["item"] for hit in found["recommendations"]["items"]] for found in (embedded, indexed)]
    assert items[0] == items[1]
    assert indexed["verify"]["recall"] == 1.0
    assert "index" in indexed["seconds"]
