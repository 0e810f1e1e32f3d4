"""`sparcode-es report`: what it writes and prints, from whatever is named, and how it ends."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sparcode_es_cli.main import cli, main

from engines.shelf import make_shelf
from evaluated import write_evaluation
from html_page import Page
from serving.fresh_world import World, random_world
from sparcode_es.engines.elasticsearch.connection import ConnectionConfig, Server
from sparcode_es.engines.elasticsearch.generations import delete
from sparcode_es.engines.elasticsearch.index import IndexOptions, index
from sparcode_es.engines.elasticsearch.layout import live_generation
from sparcode_es.postings.artifact import Artifact
from training_folder import LOG, write


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return make_shelf(tmp_path_factory.mktemp("report") / "postings")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, no_settings: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, and no environment of ours."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: object) -> str:
    done = CliRunner().invoke(cli, ["report", *map(str, arguments)])
    assert done.exit_code == 0, (done.output, done.exception)
    return done.stdout


def test_an_artifact_and_a_training(artifact: Artifact, place: Path) -> None:
    folder = write(place / "some-run", LOG)
    text = run("--postings", artifact.path, "--training", folder, "--out", "new/page.html", "--examples", 2)
    content = (place / "new/page.html").read_bytes()
    assert text == (
        f"new/page.html  {len(content):,} bytes  places training quality usage code_map scores documents examples\n"
    )
    assert len(content) < 500_000
    found = Page(content.decode())
    found.check_alone()
    assert "some-run" in found.text()
    assert [file.name for file in (place / "new").iterdir()] == ["page.html"]


def test_json_are_the_facts(artifact: Artifact, place: Path) -> None:
    found: dict[str, Any] = json.loads(
        run("--postings", artifact.path, "--json", "--title", "</b>", "--user", "user 3")
    )
    assert found["bytes"] == (place / "report.html").stat().st_size
    assert (found["out"], found["title"], found["training"]) == ("report.html", "</b>", None)
    assert found["places"][0]["generation"] == artifact.generation_hash
    assert [each["user"] for each in found["examples"]] == ["user 3"]
    assert sum(kind["postings"] for kind in found["usage"]["kinds"].values()) == artifact.num_postings
    assert "&lt;/b&gt;" in (place / "report.html").read_text()


def test_a_training_alone(place: Path) -> None:
    assert run("--training", write(place / "run", LOG)).endswith("bytes  training quality\n")


def test_evaluations_and_latency(artifact: Artifact, place: Path) -> None:
    folder = write(place / "run", LOG)
    write_evaluation(folder / "evaluation.json", "sparcode", 0.3)
    other = write_evaluation(place / "other.json", "two_tower", 0.2)
    assert run("--training", folder).endswith("bytes  training quality evaluation\n")
    assert run("--evaluation", other, "--evaluation", folder / "evaluation.json").endswith("bytes  evaluation\n")
    found = json.loads(run("--postings", artifact.path, "--evaluation", other, "--latency", 3, "--json"))
    assert found["evaluation"]["systems"][0]["slices"]["history"][0]["metrics"]["unseen"]["recall@10"] == 0.2
    assert (found["latency"]["requests"], found["latency"]["measured_at"]) == (3, found["made_at"])
    Page((place / "report.html").read_text()).check_alone()


def test_what_the_environment_names(artifact: Artifact, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts where the command line names nothing."""
    monkeypatch.setenv("SPARCODE_POSTINGS", str(artifact.path))
    assert " usage " in run("--examples", 0)
    assert " usage " not in run("--training", write(place / "run", LOG))
    monkeypatch.setenv("ES_URL", "http://127.0.0.1:9")
    assert " usage " in run("--postings", artifact.path, "--examples", 0)


def test_runs_postings_is_the_default(place: Path) -> None:
    make_shelf(place / "runs/postings")
    assert " usage " in run("--examples", 0)
    assert "<h1>postings</h1>" in (place / "report.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        ([], 7, "runs/postings"),
        (["--postings", "nowhere"], 7, "nowhere"),
        (["--training", "nowhere"], 4, "config.toml"),
        (["--training", "run", "--user", "u1"], 3, "--postings"),
        (["--training", "run", "--checkpoint", "nowhere.pt"], 6, "nowhere.pt"),
        (["--training", "run", "--out", "run"], 14, "is a folder"),
        (["--training", "run", "--out", "run/log.jsonl/page.html"], 14, "page.html"),
        (["--training", "run", "--out", "facts.json"], 3, "facts.html, or print its facts with --json"),
        (["--index", "recs"], 3, "--url"),
        (["--url", "http://127.0.0.1:9", "--index", "recs"], 8, "127.0.0.1:9"),
        (["--evaluation", "nowhere.json"], 4, "nowhere.json"),
        (["--evaluation", "run/log.jsonl"], 4, "evaluate --json"),
        (["--training", "run", "--latency", "3"], 3, "--postings"),
        (["--examples", "-1"], 2, "--examples"),
    ],
)
def test_errors(place: Path, arguments: list[str], code: int, named: str, capsys: pytest.CaptureFixture[str]) -> None:
    write(place / "run", LOG)
    with pytest.raises(SystemExit) as ended:
        main(["report", *arguments])
    assert ended.value.code == code
    error = capsys.readouterr().err
    assert named in error
    if code != 2:
        assert error.count("\n") == 1
    assert not (place / "report.html").exists()


def test_an_unknown_user(artifact: Artifact, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "report.html").write_text("old")
    with pytest.raises(SystemExit) as ended:
        main(["report", "--postings", str(artifact.path), "--user", "nobody"])
    assert ended.value.code == 5
    assert "nobody" in capsys.readouterr().err
    assert (place / "report.html").read_text() == "old"


def test_code_vectors_of_a_checkpoint(artifact: Artifact, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world = World(place / "world", random_world(3)[0])
    found = json.loads(run("--checkpoint", world.checkpoint, "--json"))
    codes = found["code_map"]["codes"]
    assert codes == len(found["code_map"]["points"]) == 16
    assert "vectors" in found["code_map"]["basis"]
    both = json.loads(run("--checkpoint", world.checkpoint, "--postings", world.artifact.path, "--json"))
    assert both["places"][0]["model_hash"] == world.artifact.model_hash
    assert any(point["users"] for point in both["code_map"]["points"])
    with pytest.raises(SystemExit) as ended:
        main(["report", "--checkpoint", str(world.checkpoint), "--postings", str(artifact.path)])
    assert ended.value.code == 11
    assert "one model" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.elasticsearch
@pytest.mark.parametrize("node", ["elasticsearch_7", "elasticsearch_9"])
def test_an_index(
    request: pytest.FixtureRequest, artifact: Artifact, place: Path, node: str, capsys: pytest.CaptureFixture[str]
) -> None:
    url = str(request.getfixturevalue(node).url)
    server = Server(ConnectionConfig(url=url))
    name = index(server, artifact, IndexOptions("reported"), lambda what, more, total: None).generation
    here = ["--url", url, "--index", "reported"]
    indexed = json.loads(run(*here, "--json"))
    held = json.loads(run("--postings", artifact.path, "--json"))
    assert indexed["places"][0]["generation"] == name
    assert indexed["documents"] == held["documents"]
    for kind, counts in held["usage"]["kinds"].items():
        assert indexed["usage"]["kinds"][kind] == pytest.approx(counts)
    assert [each["user"] for each in indexed["examples"]] == [each["user"] for each in held["examples"]]
    both = json.loads(run(*here, "--postings", artifact.path, "--training", write(place / "run", LOG), "--json"))
    assert [each["engine"] for each in both["places"]] == ["embedded", "elasticsearch"]
    assert both["training"]["model"] == "sparcode"
    Page((place / "report.html").read_text()).check_alone()
    with pytest.raises(SystemExit) as ended:
        main(["report", "--url", url, "--index", "nowhere"])
    assert ended.value.code == 5
    assert "nowhere" in capsys.readouterr().err
    server.call("DELETE", f"/{name.replace('reported', 'reported-codes', 1)}")
    with pytest.raises(SystemExit) as ended:
        main(["report", *here])
    assert ended.value.code == 10
    assert "load it again with `sparcode-es index`" in capsys.readouterr().err
    delete(server, "reported", live_generation(server, "reported") or "")
    server.close()


def test_nothing_heavy_is_imported(artifact: Artifact, place: Path) -> None:
    script = (
        "import sys\n"
        "from sparcode_es_cli.main import cli\n"
        f"cli.main(['report', '--postings', {str(artifact.path)!r}, '--training', 'run'], standalone_mode=False)\n"
        "heavy = {'torch', 'pandas', 'scipy', 'numba', 'sklearn', 'pyarrow', 'elasticsearch'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    write(place / "run", LOG)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
