"""The `query` and `postings check` commands on a small artifact, and that they start light."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sparcode_es_cli.query_print
from click.testing import CliRunner
from sparcode_es_cli.encoder_options import parse_history
from sparcode_es_cli.main import cli
from sparcode_es_cli.query_notes import notes

from serving.small_world import FakeServer, Fault
from sparcode_es.codes import UserCodes
from sparcode_es.engines.base import Hit, Query, Text
from sparcode_es.engines.embedded import EmbeddedEngine
from sparcode_es.engines.embedded_lookup import EmbeddedLookup
from sparcode_es.errors import ArtifactError, ConfigError, EngineError, EngineUnavailableError, NotFoundError
from sparcode_es.postings.artifact import Artifact
from sparcode_es.postings.build import build_postings
from sparcode_es.serving.ask import Ask
from sparcode_es.serving.recommender import Recommender
from sparcode_es.tables import StringTable


class Scorer:
    num_items, num_possible_codes, shared_heads, bias, model_hash, codebook_hash = 9, 2, True, 0.0, "aa", "bb"
    item_codes = None

    def all_codes(self) -> np.ndarray:
        return np.array([[0, 0], [0, 1]], dtype=np.uint32)

    def score_codes(self, codes: np.ndarray, items: slice) -> np.ndarray:
        return np.outer(1 + codes[:, 1], 1 + np.arange(9)).astype(np.float32)[:, items]


class Seen1:
    offsets, items = np.array([0, 1], dtype=np.uint64), np.array([8], dtype=np.uint32)


class Seen:
    offsets = np.array([0, 2], dtype=np.uint64)
    items = np.array([8, 3], dtype=np.uint32)


def attributes_of(item: int) -> dict[str, str]:
    """As of a CSV that pandas wrote of a table with gaps: years are floats."""
    return {"genre": "odd" if item % 2 else "even", "year": f"{1990 + item}.0", "released": f"200{item}-01-01"}


@pytest.fixture
def postings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("ES_URL", "ES_CLOUD_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SPARCODE_POSTINGS", str(tmp_path / "postings"))
    return build_postings(
        Scorer(),
        tmp_path / "postings",
        item_ids=StringTable.build(str(i) for i in range(9)),
        item_docs=[{"title": f"Film {i}", "attributes": attributes_of(i)} for i in range(9)],
        user_ids=StringTable.build(["123"]),
        user_codes=UserCodes(
            np.array([0, 2], np.uint64), np.array([[0, 0], [0, 1]], np.uint32), np.array([1, 2], np.float32)
        ),
        user_seen=Seen(),
    ).path


def run(*arguments: str) -> Any:
    return CliRunner().invoke(cli, ["query", *arguments], catch_exceptions=True)


def test_a_known_user(postings: Path) -> None:
    done = run("--user", "123", "-k", "2", "--explain", "--show-history")
    assert done.exit_code == 0, done.output
    assert "Film 8" in done.stdout
    assert "45.0000" in done.stdout
    assert "36.0000  = 2.0000 × 18.0000   code 1" in done.stdout
    assert "code 1, Film 8" in done.stdout
    assert done.stdout.index("code 1") < done.stdout.index("code 0")  # what gave most first
    assert "embedded" in done.stderr


def test_json(postings: Path) -> None:
    done = run("--user", "123", "-k", "3", "--exclude-seen", "--filter", "genre=even", "--json", "--explain")
    document = json.loads(done.stdout)
    assert [item["item"] for item in document["items"]] == ["6", "4", "2"]
    assert document["items"][0]["explanation"]["total"] == document["items"][0]["score"] == 35.0
    assert document["engine"]["engine"] == "embedded"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--user", "nobody"], NotFoundError),
        (["--user", "123", "--filter", "genre"], ConfigError),
        (["--user", "123", "--engine", "elasticsearch"], ConfigError),
        (["--user", "123", "--postings", "nowhere"], ArtifactError),
    ],
)
def test_errors(postings: Path, arguments: list[str], error: type[Exception]) -> None:
    assert isinstance(run(*arguments).exception, error)


@pytest.mark.parametrize(
    "arguments", [[], ["--user", "1", "--history", "2"], ["--history", "2"], ["--user", "1", "-k", "0"]]
)
def test_usage(postings: Path, arguments: list[str]) -> None:
    assert run(*arguments).exit_code == 2


@pytest.mark.parametrize(
    ("text", "items"), [("12 55  7", ["12", "55", "7"]), ('["a b", "c", 7]', ["a b", "c", "7"]), ("", [])]
)
def test_histories(text: str, items: list[str]) -> None:
    assert parse_history(text) == items


def test_a_history_that_is_no_json() -> None:
    with pytest.raises(ConfigError, match="JSON"):
        parse_history('["a", ')


@pytest.mark.parametrize("variable", ["ES_USERNAME", "ES_CA_CERTS", "ES_API_KEY"])
def test_the_embedded_engine_needs_no_sound_connection(
    postings: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "half of what a connection needs")
    assert run("--user", "123").exit_code == 0


def test_flags_beat_the_environment(postings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A password on the command line and an API key in the environment: the password is used, and nobody is confused."""
    monkeypatch.setenv("ES_API_KEY", "key")
    monkeypatch.setenv("ES_CLOUD_ID", "cloud")
    flags = ["--url", "http://127.0.0.1:9", "-u", "elastic", "-p", "secret", "--timeout", "1"]
    done = run("--user", "123", *flags)
    assert isinstance(done.exception, EngineUnavailableError), done.exception
    assert "secret" not in str(done.exception)


def test_check(postings: Path) -> None:
    done = CliRunner().invoke(cli, ["postings", "check", "--json"])
    found = json.loads(done.stdout)
    assert (found["num_postings"], found["verified_files"]) == (18, len(list(postings.glob("*.npy"))))
    assert (
        f"verified files                   {found['verified_files']}\n"
        in CliRunner().invoke(cli, ["postings", "check"]).stdout
    )
    content = bytearray((postings / "scores.npy").read_bytes())
    content[-1] ^= 1
    (postings / "scores.npy").write_bytes(content)
    assert isinstance(CliRunner().invoke(cli, ["postings", "check"]).exception, ArtifactError)


def test_a_known_user_needs_no_training_packages(postings: Path) -> None:
    code = (
        "import sys\n"
        "from sparcode_es_cli.main import cli\n"
        "cli.main(['query', '--user', '123', '--explain'], standalone_mode=False)\n"
        "heavy = {'torch', 'pandas', 'scipy', 'numba', 'sklearn', 'pyarrow', 'elasticsearch'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_a_recommender_can_do_has_its_flags(postings: Path) -> None:
    flags = ["--user", "123", "-k", "4", "--json"]
    assert ids(*flags, "--page", "2") == ["4", "3", "2", "1"]
    assert ids(*flags, "--filter", "genre!=odd") == ["8", "6", "4", "2"]
    assert ids(*flags, "--filter", "year=1997") == ["7"]
    assert ids(*flags, "--filter", "year!=1997", "--filter", "year>=1996") == ["8", "6"]
    assert ids(*flags, "--filter", "released>=2003-06-01", "--filter", "released<2006-01-01") == ["5", "4"]
    assert ids(*flags, "--pin", "1=0", "--pin", "3=1") == ["0", "8", "1", "7"]
    assert ids(*flags, "--boost", "genre=odd:10") == ["7", "5", "3", "1"]
    assert ids(*flags, "--boost", "year=1993:10", "--boost", "year=1992.0:10") == ["3", "2", "8", "7"]
    assert ids(*flags, "--max-per", "genre=1") == ["8", "7"]
    assert ids(*flags, "--mmr", "0") == ["8", "7", "6", "5"]
    shown = run("--user", "123", "-k", "2", "--page", "2", "--pin", "4=0").stdout.splitlines()
    assert [line.split()[0] for line in shown] == ["3", "4"]


def ids(*arguments: str) -> list[str]:
    done = run(*arguments)
    assert done.exit_code == 0, done.exception
    return [item["item"] for item in json.loads(done.stdout)["items"]]


def test_popular_items_when_asked_for(postings: Path) -> None:
    done = run("--user", "nobody", "--fallback", "--json")
    found = json.loads(done.stdout)
    assert (found["source"], [item["item"] for item in found["items"]]) == ("popular", ["3", "8"])
    assert "no user 'nobody'" in found["reason"]
    assert "popular items: " in done.stderr
    assert isinstance(run("--user", "nobody").exception, NotFoundError)


NOWHERE = ["--engine", "elasticsearch", "--url", "http://127.0.0.1:1", "--timeout", "1"]


def test_popular_items_of_the_artifact_when_the_server_is_down(postings: Path) -> None:
    done = run("--user", "123", *NOWHERE, "--fallback", "--pin", "1=8", "--json")
    assert done.exit_code == 0, done.exception
    found = json.loads(done.stdout)
    assert (found["source"], [item["item"] for item in found["items"]]) == ("popular", ["8", "3"])
    assert [item["title"] for item in found["items"]] == ["Film 8", "Film 3"]
    assert "cannot reach http://127.0.0.1:1" in found["reason"]
    assert f"These are of {postings}" in found["reason"]
    assert f"These are of {postings}" in done.stderr
    assert found["engine"]["engine"] == "embedded"
    assert ids("--user", "123", *NOWHERE, "--fallback", "--json", "--exclude-seen") == []
    assert ids("--user", "stranger", *NOWHERE, "--fallback", "--json", "--exclude-seen", "--filter", "genre=odd") == [
        "3"
    ]


def test_popular_items_of_the_artifact_are_logged(postings: Path, tmp_path: Path) -> None:
    """Not where the server would be, which is down: as the embedded engine, which answers, logs."""
    file = tmp_path / "queries.jsonl"
    flags = ["--fallback", "--log-file", str(file), "--log-users", "id", "--log-items", "1"]
    assert run("--user", "123", *NOWHERE, *flags).exit_code == 0
    (found,) = [json.loads(line) for line in file.read_text().splitlines()]
    assert (found["user"], found["source"], found["fallback"], found["why"]) == (
        "123",
        "popular",
        True,
        "EngineUnavailableError",
    )
    assert (found["engine"], found["hits"], found["items"], found["batch"]) == ("embedded", 2, ["3"], 1)


def test_no_server_and_no_artifact(postings: Path) -> None:
    """The error is the server's, and says why the fallback had nothing to give."""
    assert "--fallback" not in str(run("--user", "123", *NOWHERE).exception)
    error = run("--user", "123", *NOWHERE, "--fallback", "--postings", "nowhere").exception
    assert isinstance(error, EngineUnavailableError)
    assert "cannot reach http://127.0.0.1:1" in str(error)
    assert "--fallback has no popular items either: there is no postings artifact at nowhere" in str(error)


def test_a_server_that_goes_down_between_two_requests(fake: FakeServer, postings: Path) -> None:
    """The popular items were fetched while it was there."""
    asked = []

    def fault(path: str) -> Fault | None:
        asked.append(path)
        return 401 if path.endswith("_search") else None

    fake.always = fault
    done = run("--user", "user 3", "--url", fake.url, "--index", "recs", "--fallback", "--json", "-k", "2")
    assert done.exit_code == 0, done.exception
    found = json.loads(done.stdout)
    assert (found["source"], len(found["items"])) == ("popular", 2)
    assert any(path.endswith("_search") for path in asked)


def test_an_engine_that_cannot_be_asked_more(postings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer stands, its codes without names, and what was asked for may be there or not."""

    def refuse(*arguments: Any) -> Any:
        raise EngineError("there is no such index")

    for name in ("names", "fits", "attributes"):
        monkeypatch.setattr(EmbeddedLookup, name, refuse)
    done = run("--user", "123", "-k", "1", "--explain", "--boost", "genre=x:2")
    assert done.exit_code == 0, done.exception
    assert "18.0000   code 1\n" in done.stdout
    assert "which of the attributes and values asked for there are could not be found out\n" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "note"),
    [
        (["--filter", "genr=odd"], "the items have no attribute genr; they have genre, released, year"),
        (["--filter", "genr!=odd"], "the items have no attribute genr; they have genre, released, year"),
        (["--filter", "genre=ODD"], "no item has genre=ODD; did you mean genre=odd?"),
        (["--filter", "genre!=Odd"], "no item has genre=Odd; did you mean genre=odd?"),
        (["--filter", "genre=zzz"], "no item has genre=zzz"),
        (["--filter", "genre>=1"], "no item has genre>=1.0"),
        (["--filter", "genre=odd", "--filter", "genre=even"], "none of the user's items fits genre=odd and genre=even"),
        (["--boost", "genr=odd:2"], "the items have no attribute genr; they have genre, released, year"),
        (["--boost", "genre=old:2"], "no item has genre=old; did you mean genre=odd?"),
        (["--filter", "year!=1970"], "no item has year=1970; did you mean year=1997.0?"),
        (["--filter", "released>=2031-01-01"], "no item has released>=2031-01-01"),
        (["--boost", "_item=77:2"], "no item has _item=77"),
        (["--max-per", "genr=1"], "the items have no attribute genr; they have genre, released, year"),
        (["--pin", "1=77"], "--pin: there is no item 77"),
        (["--page", "60"], "the list ends before page 60"),
    ],
)
def test_an_option_that_does_nothing_is_told(postings: Path, arguments: list[str], note: str) -> None:
    done = run("--user", "123", "-k", "2", *arguments)
    assert done.exit_code == 0, done.exception
    assert done.stderr.splitlines()[:-1] == [note]
    assert json.loads(run("--user", "123", "-k", "2", *arguments, "--json").stdout)["source"] == "codes"


@pytest.mark.parametrize(
    ("hits", "told"), [([], ["--text: no item has a word of 'rivr' in its title"]), ([Hit("1", 1.0)], [])]
)
def test_words_that_are_in_no_title_are_told(
    postings: Path, monkeypatch: pytest.MonkeyPatch, hits: list[Hit], told: list[str]
) -> None:
    """Elasticsearch alone has an index of titles: here it is made up."""
    engine, asked = EmbeddedEngine(Artifact.open(postings)), Ask.of("123", text="rivr", k=1)
    answer = Recommender.for_engine(engine).recommend("123", k=1)
    sent: list[Query] = []

    def search(query: Query) -> list[Hit]:
        sent.append(query)
        return hits

    monkeypatch.setattr(engine, "search", search)
    assert notes(engine, answer, asked) == told
    assert [query.text for query in sent] == [Text("rivr", required=True)]
    assert notes(engine, replace(answer, source="popular", reason="of us"), asked) == ["popular items: of us"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--filter", "genre=odd"],
        ["--filter", "genre!=odd"],
        ["--boost", "genre=odd:1.01", "-k", "1"],
        ["--filter", "year!=1998"],
        ["--boost", "year=1998:2", "-k", "1"],
        ["--filter", "released<=2008-01-01"],
        ["--boost", "_item=0:2", "-k", "1"],
        ["--max-per", "genre=1"],
        ["--pin", "1=0"],
        ["--pin", "9=0", "-k", "1"],
        ["--max-per", "_item=1"],
        ["--page", "3", "-k", "3"],
    ],
)
def test_nothing_is_told_of_options_that_are_right(postings: Path, arguments: list[str]) -> None:
    (line,) = run("--user", "123", *arguments).stderr.splitlines()
    assert line.startswith("embedded (")


def test_items_are_counted_in_words(postings: Path) -> None:
    assert ": 1 item in " in run("--user", "123", "-k", "1").stderr
    assert ": 2 items in " in run("--user", "123", "-k", "2").stderr
    assert ": 0 items in " in run("--user", "123", "--page", "9").stderr


def test_the_history_has_a_length_of_its_own(postings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def history(*arguments: str) -> Any:
        return json.loads(run("--user", "123", "--show-history", "--json", *arguments).stdout)["history"]

    assert history("-k", "1") == history("-k", "5") == ["Film 3", "Film 8"]
    monkeypatch.setattr(sparcode_es_cli.query_print, "LATEST", 1)
    assert history("-k", "5") == ["Film 3"]


def test_the_request_alone_is_on_stdout(fake: FakeServer, postings: Path) -> None:
    flags = ["--user", "user 3", "--url", fake.url, "--index", "recs", "-k", "2", "--show-request"]
    done = run(*flags)
    assert done.exit_code == 0, done.exception
    head, body = done.stdout.split("\n", 1)
    assert head.startswith("GET recs/_search?")
    assert json.loads(body)["size"] == 2
    assert [line.split()[0] for line in done.stderr.splitlines()[:2]] == ["1", "2"]
    done = run(*flags, "--user", "nobody", "--fallback")
    assert (done.exit_code, done.stdout) == (0, "")
    assert "there is no request to show: popular items" in done.stderr


def test_an_engine_without_requests_has_none_to_show(postings: Path) -> None:
    for flags in ((), ("--json",)):
        error = run("--user", "123", "-k", "1", "--show-request", *flags).exception
        assert isinstance(error, ConfigError)
        assert "--url" in str(error)


def test_an_item_without_a_title_is_shown_by_its_id(tmp_path: Path, postings: Path) -> None:
    def lines(titles: list[str | None]) -> list[str]:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        build_postings(
            Scorer(),
            folder,
            item_ids=StringTable.build(f"i{i}" for i in range(9)),
            item_docs=[{"title": titles[i % 2], "attributes": {}} for i in range(9)],
            user_ids=StringTable.build(["123"]),
            user_codes=UserCodes(np.array([0, 1], np.uint64), np.array([[0, 0]], np.uint32), np.array([1], np.float32)),
            user_seen=Seen1(),
        )
        shown = run("--user", "123", "-k", "2", "--show-history", "--postings", str(folder)).stdout
        return [" ".join(line.split()) for line in shown.splitlines()]

    assert lines(["", "Odd"])[-2:] == ["1 9.0000 i8 i8", "2 8.0000 i7 Odd"]
    assert lines([None, "Odd"])[1] == "i8"
    assert lines([None, None])[-2:] == ["1 9.0000 i8", "2 8.0000 i7"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--filter", "=x"], "--filter takes"),
        (["--filter", "year>nan"], "must be finite"),
        (["--boost", "genre=odd"], "takes a number"),
        (["--pin", "7"], "--pin takes"),
        (["--pin", "0=7"], "from 1 on"),
        (["--max-per", "genre=0"], "at most how many"),
        (["--text", "film"], "ask Elasticsearch"),
    ],
)
def test_flags_that_cannot_be(postings: Path, arguments: list[str], words: str) -> None:
    error = run("--user", "123", *arguments).exception
    assert isinstance(error, ConfigError)
    assert words in str(error)
