"""`sparcode-es inspect`: what it prints and how it ends, on the embedded engine and on real servers."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from sparcode_es_cli.main import cli, main

from engines.shelf import Scorer, make_shelf
from serving.fresh_world import World, random_world
from sparcode_es.engines.elasticsearch.connection import ConnectionConfig, Server
from sparcode_es.engines.elasticsearch.generations import delete
from sparcode_es.engines.elasticsearch.index import IndexOptions, index
from sparcode_es.engines.elasticsearch.layout import live_generation
from sparcode_es.postings.artifact import Artifact
from sparcode_es.serving.exported import ExportedEncoder

MARKS = (pytest.mark.slow, pytest.mark.elasticsearch)
Run = Callable[..., Any]


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return make_shelf(tmp_path_factory.mktemp("inspect") / "postings")


@pytest.fixture(
    scope="module",
    params=["embedded", *(pytest.param(name, marks=MARKS) for name in ("elasticsearch_7", "elasticsearch_9"))],
)
def place(request: pytest.FixtureRequest, artifact: Artifact) -> Iterator[list[str]]:
    """The flags that name where the artifact lies."""
    if request.param == "embedded":
        yield ["--postings", str(artifact.path)]
        return
    url = str(request.getfixturevalue(request.param).url)
    server = Server(ConnectionConfig(url=url))
    index(server, artifact, IndexOptions("looked-at"), lambda what, more, total: None)
    yield ["--url", url, "--index", "looked-at"]
    delete(server, "looked-at", live_generation(server, "looked-at") or "")
    server.close()


@pytest.fixture
def run(place: list[str], no_settings: None) -> Run:
    def call(*arguments: str) -> str:
        done = CliRunner().invoke(cli, ["inspect", *arguments, *place])
        assert done.exit_code == 0, (done.output, done.exception)
        assert "generation" in done.stderr or "--json" in arguments
        return done.stdout

    return call


def read(run: Run, *arguments: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(run(*arguments, "--json"))
    return document


def test_code(run: Run, artifact: Artifact) -> None:
    text = run("code", "3")
    assert "traffic" in text
    assert "neighbours" in text
    document = read(run, "code", "3")
    assert document["kind"] == "learned"
    assert len(document["top_items"]) == 10
    assert all(each["name"] for each in document["neighbours"])
    assert read(run, "code", "item_5")["item"] == artifact.item_ids[5]


def test_item(run: Run) -> None:
    text = run("item", "é28", "-n", "3")
    assert "東京" not in text
    assert "genre" in text
    assert "x, y" in text
    document = read(run, "item", "é28", "-n", "3")
    scores = [each["score"] for each in document["top_codes"]]
    assert scores == sorted(scores, reverse=True)
    assert len(scores) == 3 < document["postings"]
    assert document["own_code"]["code"] == "item_28"


def test_control_characters_are_shown_and_not_obeyed(run: Run) -> None:
    assert "Évil ␛[31mred\\u202e" in run("item", "a1")
    assert "Two␊lines" in run("item", "é4")
    assert read(run, "item", "a1")["title"] == "Évil \x1b[31mred\u202e"


def test_query_shows_control_characters_too(place: list[str], artifact: Artifact) -> None:
    def ask(*flags: str) -> str:
        done = CliRunner().invoke(cli, ["query", "--user", "user 1", "-k", str(artifact.num_items), *flags, *place])
        assert done.exit_code == 0, (done.output, done.exception)
        return done.stdout

    assert any(item["title"] == "Évil \x1b[31mred\u202e" for item in json.loads(ask("--json"))["items"])
    text = ask("--explain")
    assert "Évil ␛[31mred\\u202e" in text
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_query_explains_with_the_names_that_inspect_has(run: Run, place: list[str]) -> None:
    asked = ["query", "--user", "user 2", "-k", "1", "--explain", *place]
    text, document = (CliRunner().invoke(cli, [*asked, *more]).stdout for more in ([], ["--json"]))
    told = json.loads(document)
    why = read(run, "why", "--user", "user 2", "--item", told["items"][0]["item"])
    names = {each["code"]: each["name"] for each in why["contributions"] if not each["code"].startswith("item_")}
    assert told["code_names"] == names
    values = [each["value"] for each in why["contributions"]]
    shown = [float(line.split()[0]) for line in text.splitlines()[1:]]
    assert shown == pytest.approx(sorted(values, reverse=True), abs=1e-4)
    assert all(f"code {term}, {name}\n" in text for term, name in names.items() if name != term)


def test_an_error_shows_what_is_in_a_name(place: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["query", "--user", "\x1b]0;mine\x07", *place])
    assert end.value.code == 5
    error = capsys.readouterr().err
    assert "␛]0;mine␇" in error or "\\x1b" in error
    assert "\x1b" not in error


def test_user(run: Run, artifact: Artifact) -> None:
    text = run("user", "user 1")
    assert "share" in text
    document = read(run, "user", "user 1", "-n", "2")
    assert len(document["codes"]) == 6
    assert document["seen"] == 5
    distinct = len(set(artifact.user_seen(1).tolist()))
    assert document["seen_items"] == distinct
    assert f"history       5 events on {distinct} items" in text
    assert [each["item"] for each in document["latest"]] == [
        artifact.item_ids[i] for i in artifact.user_seen(1)[:-3:-1]
    ]


def test_why_adds_up(run: Run, place: list[str]) -> None:
    query = CliRunner().invoke(cli, ["query", "--user", "user 2", "-k", "4", "--json", *place])
    fourth = json.loads(query.stdout)["items"][3]
    found = read(run, "why", "--user", "user 2", "--item", fourth["item"])
    values = [each["value"] for each in found["contributions"]]
    total = 0.0
    for value in values:
        total += value
    if place[0] == "--url":
        assert np.float32(total) == np.float32(found["score"]) == np.float32(fourth["score"])
        assert values == [float(np.float32(p["boost"]) * np.float32(p["posting"])) for p in found["contributions"]]
    else:
        assert total == found["score"] == fourth["score"]
        assert values == [p["boost"] * p["posting"] for p in found["contributions"]]
    assert found["sum"] == found["score"]
    assert found["rank"] == 4
    text = run("why", "--user", "user 2", "--item", fourth["item"])
    assert f"{found['score']!r} in all" in text
    assert found["contributions"][0]["code"] in text


def test_why_tells_the_place_with_and_without_seen_items(run: Run, place: list[str], artifact: Artifact) -> None:
    def asked(*flags: str) -> list[str]:
        done = CliRunner().invoke(cli, ["query", "--user", "user 2", "-k", "150", "--json", *flags, *place])
        return [each["item"] for each in json.loads(done.stdout)["items"]]

    everything, unseen = asked(), asked("--exclude-seen")
    item = next(each for each in unseen if everything.index(each) != unseen.index(each))
    rank, left = everything.index(item) + 1, unseen.index(item) + 1
    why = ["why", "--user", "user 2", "--item", item]
    found = read(run, *why)
    assert (found["rank"], found["unseen_rank"], found["seen"]) == (rank, left, False)
    assert f"{rank}, {left} without the items already seen\n" in run(*why)
    assert re.search(rf"^rank +{left}$", run(*why, "--exclude-seen"), re.MULTILINE)
    told = read(run, *why, "--why-not", "-k", str(left))
    assert (told["rank"], told["unseen_rank"], told["recommended"]) == (rank, left, False)
    assert told["verdict"][-1] == f"where seen items are left out, it has place {left}"
    seen = next(each for each in everything if each not in unseen)
    place_seen = everything.index(seen) + 1
    why = ["why", "--user", "user 2", "--item", seen]
    assert f"{place_seen}; already seen: `--exclude-seen` leaves it out\n" in run(*why)
    found = read(run, *why)
    assert (found["rank"], found["unseen_rank"], found["seen"]) == (place_seen, None, True)
    told = read(run, *why, "--why-not", "-k", str(place_seen))
    assert told["verdict"][-1] == "the user has met it: where seen items are left out, so is it"
    assert "leave it out; already seen\n" in run(*why, "--exclude-seen")


def test_why_not(run: Run, artifact: Artifact) -> None:
    seen = artifact.item_ids[int(artifact.user_seen(2)[0])]
    text = run("why", "--user", "user 2", "--item", seen, "--why-not", "--exclude-seen")
    assert "- the user has met it, and seen items are left out" in text
    found = read(run, "why", "--user", "user 2", "--item", seen, "--why-not", "--filter", "year=1700", "-k", "3")
    assert found["seen"]
    assert not found["excluded"]
    assert found["failed_filters"] == ["year=1700"]
    assert (found["k"], found["exists"], found["recommended"]) == (3, True, False)
    missing = read(run, "why", "--user", "user 2", "--item", "nothing", "--why-not")
    assert (missing["exists"], missing["recommended"], missing["score"]) == (False, False, 0.0)
    silent = read(run, "why", "--user", "user 2", "--item", "é140", "--why-not")
    assert silent["exists"]
    assert len(silent["codes_without_posting"]) == 6
    assert "no score" in silent["verdict"][0]


def test_codes_and_dead(run: Run) -> None:
    assert len(run("codes", "--top", "5").strip().splitlines()) == 6
    document = read(run, "codes", "--top", "5")
    traffic = [each["traffic"] for each in document["codes"]]
    assert traffic == sorted(traffic, reverse=True)
    assert "learned codes that no user has" in run("dead")
    dead = read(run, "dead", "-n", "2")
    assert dead["items_without_postings"]["count"] == 10
    assert len(dead["items_without_postings"]["examples"]) == 2
    assert "19" in dead["codes_without_items"]["learned"]["examples"]


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        (["code", "12_201"], 5, "12_201"),
        (["code", "\x1b"], 5, "x1b"),
        (["code", "item_é0"], 5, "an item's code has its number"),
        (["item", "nothing"], 5, "nothing"),
        (["user", "nobody"], 5, "nobody"),
        (["why", "--user", "nobody", "--item", "é0"], 5, "nobody"),
        (["why", "--user", "user 1", "--item", "nothing"], 5, "nothing"),
        (["why", "--user", "user 1", "--item", "é0", "--filter", "genre"], 3, "--filter"),
        (["why", "--item", "é0"], 2, "--user"),
        (["why", "--history", "é0", "--item", "é0"], 2, "--history needs --checkpoint or --encoder"),
        (["why", "--history", "é0", "--item", "é0", "--checkpoint", "a", "--encoder", "b"], 2, "give either"),
        (["codes", "--top", "0"], 2, "--top"),
    ],
)
def test_errors(
    run: Run,
    place: list[str],
    arguments: list[str],
    code: int,
    named: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["inspect", *arguments, *place])
    assert ended.value.code == code
    error = capsys.readouterr().err
    assert named in error
    if code != 2:
        assert error.count("\n") == 1


def test_diff_of_artifacts(artifact: Artifact, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other, foreign = (
        make_shelf(tmp_path / "other", attribute="2001"),
        make_shelf(tmp_path / "foreign", Scorer(1, "feed02")),
    )
    done = CliRunner().invoke(cli, ["inspect", "diff", str(artifact.path), str(other.path)])
    assert done.exit_code == 0, done.exception
    assert "~Z7" in done.stdout
    done = CliRunner().invoke(cli, ["inspect", "diff", str(artifact.path), str(foreign.path)])
    assert "of different models" in done.stdout
    done = CliRunner().invoke(cli, ["inspect", "diff", str(artifact.path), str(foreign.path), "--json"])
    assert json.loads(done.stdout)["postings"] is None
    with pytest.raises(SystemExit) as ended:
        main(["inspect", "diff", str(artifact.path), str(tmp_path / "nothing")])
    assert ended.value.code == 7
    assert "nothing" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.elasticsearch
@pytest.mark.parametrize("node", ["elasticsearch_7", "elasticsearch_9"])
def test_a_generation_beside_its_artifact_and_one_that_is_not_there(
    request: pytest.FixtureRequest, artifact: Artifact, node: str, capsys: pytest.CaptureFixture[str]
) -> None:
    url = str(request.getfixturevalue(node).url)
    server = Server(ConnectionConfig(url=url))
    name = index(server, artifact, IndexOptions("beside"), lambda what, more, total: None).generation
    flags = ["--url", url, "--index", "beside"]
    for before, after in ((str(artifact.path), "live"), (name, name.removeprefix("beside-"))):
        done = CliRunner().invoke(cli, ["inspect", "diff", before, after, *flags, "--json"])
        found = json.loads(done.stdout)
        assert found["same_model"]
        assert found["postings"] == {"added": 0, "removed": 0, "changed": 0}
        assert found["items"]["changed"]["count"] == found["codes"]["changed"]["count"] == 0
        assert found["before"]["postings"] == found["after"]["postings"] == artifact.num_postings
    for arguments, code, named in (
        (["diff", name, "beside-20200101000000-000000000000"], 5, name),
        (["code", "3", "--index", "nowhere"], 5, "nowhere"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(["inspect", *arguments[:1], *flags, *arguments[1:]])
        assert ended.value.code == code
        assert named in capsys.readouterr().err
    server.call("DELETE", f"/{name.replace('beside', 'beside-codes', 1)}")
    for arguments in (["code", "3"], ["diff", name, str(artifact.path)]):
        with pytest.raises(SystemExit) as ended:
            main(["inspect", *arguments, *flags])
        assert ended.value.code == 10
        assert "load it again with `sparcode-es index`" in capsys.readouterr().err
    delete(server, "beside", name.removeprefix("beside-"))
    server.close()


def test_somebody_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A history's reasons, with the model; without the items that it does not know; refused with another model, or where it knows
    none of them."""
    monkeypatch.delenv("ES_URL", raising=False)
    old, _ = random_world(3)
    world, other = World(tmp_path / "one", old), World(tmp_path / "other", old, weights=(1.0, 1.0))
    where = ["--postings", str(world.artifact.path), "--json"]
    asked = ["--history", "i1 i2", "--checkpoint", str(world.checkpoint)]
    answer = json.loads(CliRunner().invoke(cli, ["query", *asked, *where]).stdout)
    first = answer["items"][0]
    done = CliRunner().invoke(cli, ["inspect", "why", *asked, "--item", first["item"], *where])
    found = json.loads(done.stdout)
    assert (found["score"], found["sum"], found["rank"]) == (first["score"], first["score"], 1)
    asked[1] = "i1 i999 i2 i999"
    for command in (["query", *asked], ["inspect", "why", *asked, "--item", first["item"]]):
        done = CliRunner().invoke(cli, [*command, *where])
        assert done.stderr.startswith("left out of --history: 1 item that the model does not know: 'i999'\n")
        told = json.loads(done.stdout)
        assert first["score"] == (told["items"][0]["score"] if "items" in told else told["score"])
        assert told.get("unknown", ["i999"]) == ["i999"]
    monkeypatch.setattr(ExportedEncoder, "open", lambda path: {"here": world, "other": other}[path.name].encoder())
    done = CliRunner().invoke(
        cli, ["inspect", "why", "--history", "i1 i2", "--encoder", "here", "--item", first["item"], *where]
    )
    assert json.loads(done.stdout)["contributions"] == found["contributions"]
    for wrong, code in (
        (["--history", "i1", "--checkpoint", str(other.checkpoint)], 11),
        (["--history", "i1", "--encoder", "other"], 11),
        (["--history", "i999", "--checkpoint", str(world.checkpoint)], 5),
    ):
        with pytest.raises(SystemExit) as ended:
            main(["inspect", "why", *wrong, "--item", "i3", *where])
        assert ended.value.code == code
        assert capsys.readouterr().err.startswith("error: ")


def test_nothing_heavy_is_imported(artifact: Artifact) -> None:
    script = (
        "import sys\n"
        "from sparcode_es_cli.main import cli\n"
        f"flags = ['--postings', {str(artifact.path)!r}, '--json']\n"
        "for words in (['code', '3'], ['why', '--user', 'user 1', '--item', 'é0'], ['dead'], ['item', 'é0']):\n"
        "    cli.main(['inspect', *words, *flags], standalone_mode=False)\n"
        "heavy = {'torch', 'pandas', 'scipy', 'numba', 'sklearn', 'pyarrow', 'elasticsearch'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
