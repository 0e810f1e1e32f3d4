"""`sparcode-es postings update` as a person meets it: what it prints, its exit codes, and a kill on the way."""

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

from serving.fresh_world import World, random_world, text_of
from sparcode_es.data.importer import ImportOptions, import_file
from sparcode_es.data.write import Preparation
from sparcode_es.errors import ArtifactError, CheckpointError, DataError, MismatchError, StorageError
from sparcode_es.postings.artifact import Artifact

NEW = {"u1": [3, 5], "late": [4, 7, 100]}


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    for name in ("ES_URL", "ES_CLOUD_ID", "SPARCODE_POSTINGS"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "new.txt").write_text(text_of(NEW))
    return World(tmp_path, random_world(6)[0])


def arguments(world: World, *more: object) -> list[str]:
    paths = ("--postings", world.artifact.path, "--checkpoint", world.checkpoint, "--data", world.dataset.path)
    return ["postings", "update", *map(str, (*paths, *more))]


def run(world: World, *more: object) -> Any:
    return CliRunner().invoke(cli, arguments(world, *more))


LINES = ("--format", "sequences", "--layout", "lines")


def test_in_place(world: World) -> None:
    before = world.artifact.generation_hash
    done = run(world, world.folder / "new.txt", *LINES, "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["updated_from"] == before
    assert (report["events"], report["new_users"], report["changed_users"]) == (4, 1, 2)
    assert "left out 1 event on 1 item that the model does not know" in done.stderr
    updated = Artifact.open(world.artifact.path, verify=True)
    assert updated.generation_hash == report["generation"] != before
    assert updated.model_hash == world.artifact.model_hash
    asked = CliRunner().invoke(cli, ["query", "--postings", str(updated.path), "--user", "late", "--json"])
    assert asked.exit_code == 0
    assert json.loads(asked.stdout)["items"]
    verified = ["verify", "--postings", str(updated.path), "--checkpoint", str(world.checkpoint), "-k", "10"]
    assert CliRunner().invoke(cli, verified).exit_code == 0


def test_to_another_folder_in_words(world: World) -> None:
    done = run(world, world.folder / "new.txt", *LINES, "--out", world.folder / "fresh")
    assert done.exit_code == 0, done.output
    assert f"updated from                     {world.artifact.generation_hash}" in done.stdout
    assert "folded events                    4" in done.stdout
    assert Artifact.open(world.artifact.path).generation_hash == world.artifact.generation_hash


@pytest.mark.parametrize("place", ["mine", "data"])
def test_another_folder_is_not_replaced(world: World, place: str) -> None:
    out = world.folder / place
    out.mkdir(exist_ok=True)
    if place == "mine":
        (out / "thesis.txt").write_text("years of work")
    before = sorted(file.name for file in out.iterdir())
    done = run(world, world.folder / "new.txt", *LINES, "--out", out)
    assert isinstance(done.exception, StorageError)
    assert "is no file of a postings artifact" in str(done.exception)
    assert sorted(file.name for file in out.iterdir()) == before


def test_held_out_events(world: World) -> None:
    done = run(world, "--fold", "valid", "--json")
    assert json.loads(done.stdout)["events"] == int((world.dataset.labels == 1).sum())


def test_the_order_of_time_counts_not_that_of_rows(world: World) -> None:
    log = world.folder / "new.csv"
    log.write_text("who,what,when\nu1,i5,200\nlate,i7,9\nu1,i3,100\nlate,i4,8\n")
    columns = ("--user-column", "who", "--item-column", "what", "--time-column", "when")
    assert run(world, log, *columns, "--out", world.folder / "csv").exit_code == 0
    assert run(world, world.folder / "new.txt", *LINES, "--out", world.folder / "txt").exit_code == 0
    left, right = (Artifact.open(world.folder / name) for name in ("csv", "txt"))
    for name in ("user_seen_items", "scores", "item_numbers"):
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name))
    assert left.manifest["updates"][-1]["times"] == [8, 200]


def test_events_older_than_the_data_are_refused(world: World) -> None:
    rows = "".join(f"u{u},i{item},{1000 + item}\n" for u in range(3) for item in range(18))
    source = world.folder / "timed.csv"
    source.write_text("user,item,time\n" + rows)
    timed = World(world.folder / "timed", {f"u{u}": list(range(18)) for u in range(3)})
    timed.dataset = import_file(source, world.folder / "timed/data", "timed", Preparation(), ImportOptions("csv"))
    log = world.folder / "late.csv"
    log.write_text("user,item,time\nu0,i3,1017\nu1,i4,1016\n")
    done = run(timed, log)
    assert isinstance(done.exception, DataError)
    assert "1 of the 2 events of late.csv are older" in str(done.exception)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda w: ["missing.txt"], DataError, "does not exist"),
        (lambda w: [w.folder / "empty.txt"], DataError, "empty"),
        (lambda w: [w.folder / "other.txt", *LINES], DataError, "another data set"),
        (lambda w: [w.folder / "whole.txt", *LINES], DataError, "repeats the histories"),
        (lambda w: [w.folder / "new.txt", *LINES, "--checkpoint", w.folder / "none.pt"], CheckpointError, "none.pt"),
        (lambda w: [w.folder / "new.txt", *LINES, "--postings", w.folder / "none"], ArtifactError, "none"),
        (lambda w: [w.folder / "new.txt", *LINES, "--data", w.folder], DataError, "data folder"),
        (
            lambda w: [w.folder / "new.txt", *LINES, "--checkpoint", w.folder / "2/model.pt"],
            MismatchError,
            "built from",
        ),
        (lambda w: [w.folder / "new.txt", *LINES, "--data", w.folder / "2/data"], MismatchError, "built from"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_changed(
    world: World, change: Any, error: type[Exception], words: str
) -> None:
    World(world.folder / "2", {**random_world(6)[0], "zz": [1, 2]})
    (world.folder / "empty.txt").write_text("")
    (world.folder / "other.txt").write_text("1 a b\n2 b c\n")
    (world.folder / "whole.txt").write_text(text_of({user: [*items, 3] for user, items in random_world(6)[0].items()}))
    done = run(world, *change(world))
    assert isinstance(done.exception, error)
    assert words in str(done.exception)
    assert Artifact.open(world.artifact.path, verify=True).generation_hash == world.artifact.generation_hash


def test_nothing_to_fold_is_a_usage_error(world: World) -> None:
    assert run(world).exit_code == 2


@pytest.mark.slow
def test_killed_before_the_end_the_old_artifact_stays(world: World) -> None:
    script = (
        "import os, signal, sys\n"
        "from sparcode_es.postings import update\n"
        "update.write_manifest = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "from sparcode_es_cli.main import main\n"
        "main(sys.argv[1:])\n"
    )
    words = arguments(world, world.folder / "new.txt", *LINES)
    done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert Artifact.open(world.artifact.path, verify=True).generation_hash == world.artifact.generation_hash
    assert CliRunner().invoke(cli, words).exit_code == 0
    assert len(Artifact.open(world.artifact.path, verify=True).manifest["updates"]) == 1
    assert not list(world.folder.glob(".postings*"))
