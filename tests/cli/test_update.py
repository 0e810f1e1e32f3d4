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

from serving.fresh_world import World, log_of, random_world, text_of
from sparcode_es.data import importer
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
    assert left.manifest.updates[-1].times == (8, 200)


@pytest.fixture
def timed(tmp_path: Path) -> World:
    """Three users with a time at every event, the last ones at 1017."""
    rows = "".join(f"u{u},i{item},{1000 + item}\n" for u in range(3) for item in range(18))
    source = tmp_path / "timed.csv"
    source.write_text("user,item,time\n" + rows)
    world = World(tmp_path / "timed", {f"u{u}": list(range(18)) for u in range(3)})
    world.dataset = import_file(source, tmp_path / "timed/data", "timed", Preparation(), ImportOptions("csv"))
    return world


def folded(world: World, name: str, *rows: str) -> Any:
    """A log with times, folded in."""
    log = world.folder / name
    log.write_text("".join(f"{row}\n" for row in ("user,item,time", *rows)))
    return run(world, log)


def seen(world: World, user: str) -> list[str]:
    artifact = Artifact.open(world.artifact.path)
    return [artifact.item_ids[item] for item in artifact.user_seen(artifact.user_ids.find(user) or 0)]


def test_events_older_than_the_data_are_refused(timed: World) -> None:
    done = folded(timed, "late.csv", "u0,i3,1017", "u1,i4,1016")
    assert isinstance(done.exception, DataError)
    assert "1 of the 2 events of late.csv are older" in str(done.exception)
    assert "hold of their user (u1, for one)" in str(done.exception)


def test_events_older_than_those_folded_in_are_refused(timed: World) -> None:
    assert folded(timed, "day3.csv", "u1,i8,3000", "new,i2,3000").exit_code == 0
    for user in ("u1", "new"):
        done = folded(timed, "day2.csv", f"{user},i7,2000")
        assert isinstance(done.exception, DataError)
        assert "1 of the 1 events of day2.csv are older than the last" in str(done.exception)
    assert folded(timed, "other.csv", "u0,i7,2000").exit_code == 0, "another user's"
    (timed.folder / "untimed.txt").write_text("u0 i5\n")
    assert run(timed, timed.folder / "untimed.txt", *LINES).exit_code == 0, "no time, nothing to compare"
    done = folded(timed, "day1.csv", "u0,i9,1999")
    assert isinstance(done.exception, DataError), "times are kept over further updates"
    assert seen(timed, "u0")[18:] == ["i7", "i5"]


def test_a_log_that_has_grown_is_not_folded_in_again(timed: World) -> None:
    assert folded(timed, "day.csv", "u1,i7,2000", "u2,i8,2000", "u2,i9,2000").exit_code == 0
    for more in ("u1,i4,2000", "u1,i4,2001"):
        done = folded(timed, "day.csv", "u1,i7,2000", "u2,i8,2000", "u2,i9,2000", more)
        assert isinstance(done.exception, DataError)
        assert "day.csv repeats" in str(done.exception)
        assert "(2 of 2 users)" in str(done.exception)
    assert folded(timed, "more.csv", "u1,i4,2000", "u2,i5,2000", "u2,i5,2000").exit_code == 0, "others of that second"
    assert seen(timed, "u1")[18:] == ["i7", "i4"]


def test_later_events_may_repeat_a_whole_history(timed: World) -> None:
    """Of users who take the same things again: all of them come after what is held, and count once."""
    again = [f"u{u},i{item},{2000 + item}" for u in range(3) for item in range(18)]
    assert folded(timed, "again.csv", *again).exit_code == 0
    assert seen(timed, "u1") == [f"i{item}" for item in range(18)] * 2


def test_events_on_unknown_items_are_not_asked_for_their_time(timed: World) -> None:
    done = folded(timed, "new.csv", "ghost,i100,5", "u0,i200,6", "u1,i8,3000")
    assert done.exit_code == 0, done.exception
    assert seen(timed, "u1")[18:] == ["i8"]


def test_folders_of_other_events_are_other_logs(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "sparcode_es.data.importer.read_log", lambda path, options: log_of({"u1": [int(path.name)]}).events
    )
    for name in ("3", "5"):
        (world.folder / name).mkdir()
        (world.folder / name / "u.data").write_text(name)
        assert run(world, world.folder / name).exit_code == 0
    done = run(world, world.folder / "5")
    assert isinstance(done.exception, DataError)
    assert "was folded into" in str(done.exception)
    assert seen(world, "u1")[-2:] == ["i3", "i5"]


def test_of_a_log_with_the_newest_rows_first_the_order_in_a_second_is_kept(timed: World) -> None:
    rows = ["u2,i1,2009", "u1,i5,2007", "u1,i3,2007", "u1,i8,2005", "u2,i2,2004"]
    assert folded(timed, "down.csv", *rows).exit_code == 0
    assert seen(timed, "u1")[18:] == ["i8", "i3", "i5"]


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


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda w: ["missing.txt"], DataError),
        (lambda w: [w.folder / "whole.txt", *LINES], DataError),
        (lambda w: [w.folder / "new.txt", *LINES, "--postings", w.folder / "none"], ArtifactError),
        (lambda w: [w.folder / "new.txt", *LINES, "--data", w.folder], DataError),
        (lambda w: [w.folder / "new.txt", *LINES, "--out", w.dataset.path], StorageError),
    ],
)
def test_what_needs_no_model_is_checked_before_torch_is_loaded(
    world: World, monkeypatch: pytest.MonkeyPatch, change: Any, error: type[Exception]
) -> None:
    (world.folder / "whole.txt").write_text(text_of({user: [*items, 3] for user, items in random_world(6)[0].items()}))
    monkeypatch.setattr("sparcode_es_cli.extras.need_training", lambda: pytest.fail("torch is loaded"))
    assert isinstance(run(world, *change(world)).exception, error)


@pytest.mark.parametrize("place", [[], ["--out", "fresh"]])
def test_a_second_update_is_refused_before_it_reads(
    world: World, monkeypatch: pytest.MonkeyPatch, place: list[str]
) -> None:
    """The first would have changed what the second has read."""
    monkeypatch.chdir(world.folder)
    read, second = importer.read_log, []

    def late(path: Path, options: ImportOptions) -> Any:
        if not second:
            second.append(None)
            second[0] = run(world, "new.txt", *LINES, *place)
        return read(path, options)

    monkeypatch.setattr(importer, "read_log", late)
    assert run(world, "new.txt", *LINES, *place).exit_code == 0
    assert isinstance(second[0].exception, StorageError)
    assert "another run is updating" in str(second[0].exception)
    assert not list(world.folder.glob(".*")), "the lock goes with its owner"


def test_nothing_to_fold_is_a_usage_error(world: World) -> None:
    assert run(world).exit_code == 2


@pytest.mark.parametrize(
    ("name", "text", "left_out"),
    [
        ("none.csv", "user,item,time\n", None),
        ("new.csv", "user,item,time\nu1,i100,5\nghost,i101,6\n", "left out 2 events on 2 items"),
    ],
)
def test_a_day_without_an_event_to_fold_changes_nothing_and_is_no_error(
    world: World, monkeypatch: pytest.MonkeyPatch, name: str, text: str, left_out: str | None
) -> None:
    monkeypatch.setattr("sparcode_es_cli.extras.need_training", lambda: pytest.fail("torch is loaded"))
    (world.folder / name).write_text(text)
    done = run(world, world.folder / name, "--out", world.folder / "fresh", "--json")
    assert done.exit_code == 0, done.exception
    assert f"{world.artifact.path} stays as it is, and {world.folder / 'fresh'} is not written" in done.stderr
    assert ("left out" in done.stderr) is bool(left_out)
    assert left_out is None or left_out in done.stderr
    assert json.loads(done.stdout)["generation"] == world.artifact.generation_hash
    assert not (world.folder / "fresh").exists()
    assert run(world, world.folder / name).exit_code == 0
    assert Artifact.open(world.artifact.path, verify=True).generation_hash == world.artifact.generation_hash


def test_held_out_events_beside_an_empty_log(world: World) -> None:
    (world.folder / "none.csv").write_text("user,item,time\n")
    done = run(world, world.folder / "none.csv", "--fold", "valid", "--json")
    assert done.exit_code == 0, done.exception
    assert json.loads(done.stdout)["events"] == int((world.dataset.labels == 1).sum())


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
    assert len(Artifact.open(world.artifact.path, verify=True).manifest.updates) == 1
    assert not list(world.folder.glob(".postings*"))


def test_a_build_does_not_take_away_what_was_folded_in(world: World) -> None:
    assert run(world, world.folder / "new.txt", *LINES).exit_code == 0
    updated = Artifact.open(world.artifact.path).generation_hash
    build = ["postings", "build", "--checkpoint", world.checkpoint, "--data", world.dataset.path]
    done = CliRunner().invoke(cli, [*map(str, build), "--out", str(world.artifact.path)])
    assert isinstance(done.exception, StorageError)
    assert "folded in (1 times `postings update`), which a build would lose" in str(done.exception)
    assert Artifact.open(world.artifact.path).generation_hash == updated
    assert CliRunner().invoke(cli, [*map(str, build), "--out", str(world.folder / "fresh")]).exit_code == 0
