"""Formats, side tables and features: MovieLens's layouts, Parquet, titles, attributes, declared features, what is refused."""

from __future__ import annotations

import gzip
import tracemalloc
import zipfile
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner
from sparcode_es_cli.main import cli

from sparcode_es.data.dataset import Dataset
from sparcode_es.data.importer import detect_format
from sparcode_es.errors import DataError
from sparcode_es.files import sha256_of

U_DATA = "1\t10\t5\t881250949\n1\t20\t3\t881250950\n1\t30\t4\t881250951\n2\t10\t4\t881250940\n2\t30\t1\t881250960\n"
DAT = U_DATA.replace("\t", "::")
MOVIES = ((10, "Léon (1994)", {1, 8}), (20, "Toy Story (1995)", {3}), (30, "Heat (1995)", {1}))
U_ITEM = "".join(
    f"{number}|{title}|01-Jan-1995||http://x/|{'|'.join(str(int(g in genres)) for g in range(19))}\n"
    for number, title, genres in MOVIES
)
U_USER = "1|24|M|technician|85711\n2|53|F|other|94043\n"
MOVIES_DAT = "10::Léon (1994)::Action|Drama\n20::Toy Story (1995)::Animation\n30::Heat (1995)::Action\n"


def run(tmp_path: Path, source: Path, *flags: str) -> Dataset:
    arguments = ["data", "import", str(source), "--out", str(tmp_path / "out"), *flags]
    result = CliRunner().invoke(cli, arguments)
    if isinstance(result.exception, DataError):
        assert not (tmp_path / "out").exists()
        raise result.exception
    assert result.exit_code == 0, result.output
    return Dataset.open(tmp_path / "out", verify=True)


def refused(tmp_path: Path, content: str, *flags: str, name: str = "log.csv") -> str:
    """The sentence with which a log is refused."""
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError) as error:
        run(tmp_path, tmp_path / name, *flags)
    return str(error.value)


def histories(dataset: Dataset) -> dict[str, list[str]]:
    rows = dataset.full_histories()
    return {dataset.user_ids[u]: [dataset.item_ids[int(i)] for i in rows[u]] for u in range(dataset.num_users)}


def movielens(folder: Path, layout: str) -> Path:
    files = {
        "100k": {"u.data": U_DATA.encode(), "u.item": U_ITEM.encode("latin-1"), "u.user": U_USER.encode()},
        "10m": {"ratings.dat": DAT.encode(), "movies.dat": MOVIES_DAT.encode()},
        "1m": {"ratings.dat": DAT.encode(), "movies.dat": MOVIES_DAT.encode("latin-1")},
    }[layout.removesuffix(".zip")]
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    if not layout.endswith(".zip"):
        return folder
    archive = folder.with_suffix(".zip")
    with zipfile.ZipFile(archive, "w") as file:
        for name in files:
            file.write(folder / name, f"ml/{name}")
    return archive


@pytest.mark.parametrize("layout", ["100k", "1m", "10m", "100k.zip", "10m.zip"])
def test_movielens_layouts(tmp_path: Path, layout: str) -> None:
    dataset = run(tmp_path, movielens(tmp_path / "ml", layout))
    assert histories(dataset) == {"1": ["10", "20", "30"], "2": ["10", "30"]}
    leon = dataset.item_ids.find("10")
    assert leon is not None
    document = dataset.item_doc(leon)
    assert document["title"] == "Léon (1994)"
    assert set(document["attributes"]["genres"]) == {"Action", "Drama"}
    assert len(dataset.schema) == (3 if layout.startswith("100k") else 0)


def test_a_source_is_known_by_its_content_a_folder_too(tmp_path: Path) -> None:
    for parent in ("first", "second"):
        (tmp_path / parent).mkdir()
    source = movielens(tmp_path / "first" / "ml", "100k")
    before = run(tmp_path, source).manifest.source
    moved = source.rename(tmp_path / "second" / "ml")
    assert run(tmp_path, moved).manifest.source == before
    assert before.sha256 == sha256_of(moved)
    (moved / "u.user").write_text(U_USER.replace("24", "25"))
    assert run(tmp_path, moved).manifest.source.sha256 not in ("", before.sha256)


def test_a_single_ratings_file_is_known_by_its_lines(tmp_path: Path) -> None:
    (tmp_path / "log").write_text(U_DATA)
    assert histories(run(tmp_path, tmp_path / "log")) == {"1": ["10", "20", "30"], "2": ["10", "30"]}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1\t10\t5", "four columns"),
        ("x\t10\t5\t1", "whole number"),
        ("-1\t10\t5\t1", "negative"),
        ("1\t1\t5\tnow", "timestamp"),
    ],
)
def test_bad_ratings_are_named_by_line(tmp_path: Path, line: str, message: str) -> None:
    text = refused(tmp_path, U_DATA + line + "\n", "--format", "movielens", name="u.data")
    assert message in text
    assert "6" in text
    assert "--skip-bad-rows" in text


FRAME = pd.DataFrame({"who": ["u1", "u1", "u2", "u2"], "what": ["a", "b", "b", "a"], "when": [2, 1, 5, 6]})
FLAGS = ("--user-column", "who", "--item-column", "what", "--time-column", "when")


def test_parquet(tmp_path: Path) -> None:
    FRAME.to_parquet(tmp_path / "log.parquet")
    assert histories(run(tmp_path, tmp_path / "log.parquet", *FLAGS)) == {"u1": ["b", "a"], "u2": ["b", "a"]}


@pytest.mark.parametrize("missing", ["who", "what", "when"])
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_missing_column_is_named_beside_those_there_are(tmp_path: Path, missing: str, kind: str) -> None:
    frame, path = FRAME.drop(columns=missing), tmp_path / f"log.{kind}"
    frame.to_csv(path, index=False) if kind == "csv" else frame.to_parquet(path)
    with pytest.raises(DataError) as error:
        run(tmp_path, path, *FLAGS)
    assert f"'{missing}'" in str(error.value)
    assert all(name in str(error.value) for name in frame.columns)


def test_a_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("user,item,item\nu1,a,b\n")
    with pytest.raises(DataError, match="2 columns 'item'; rename or remove all but one"):
        run(tmp_path, tmp_path / "log.csv")


def test_duplicate_events_are_kept_unless_told_otherwise(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("who,what,when\nu1,a,1\nu1,a,1\nu1,b,2\nu1,c,3\n")
    assert run(tmp_path, log, *FLAGS).num_events == 4
    dataset = run(tmp_path / "second", log, *FLAGS, "--drop-duplicates")
    assert dataset.num_events == 3
    assert dataset.manifest.counts.dropped_duplicates == 1
    command = ["data", "import", str(log), *FLAGS, "--out", str(tmp_path / "third")]
    assert (
        "1 event repeating an earlier one (--drop-duplicates drops them)\n" in CliRunner().invoke(cli, command).stderr
    )
    told = CliRunner().invoke(cli, [*command, "--drop-duplicates"]).stderr
    assert told.startswith("1 event repeating an earlier one, dropped\n")


def test_titles_attributes_and_features_come_from_second_files(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text("u1 a b c\nu2 b c a\n")
    (tmp_path / "items.csv").write_text("id,name,tags,price\na,Ä,x|y,1.5\nb,B,y,2\nc,C,,3\n")
    (tmp_path / "users.csv").write_text("uid,age\nu1,30\nu2,40\n")
    sides = (
        "--items",
        str(tmp_path / "items.csv"),
        "--items-id-column",
        "id",
        "--title-column",
        "name",
        "--list-column",
        "tags",
    )
    users = ("--users", str(tmp_path / "users.csv"), "--users-id-column", "uid")
    features = ("--feature", "user:age:numerical", "--feature", "item:price:numerical", "--feature", "item:tags:list")
    dataset = run(tmp_path, tmp_path / "log.txt", "--format", "sequences", *sides, *users, *features)
    assert len(dataset.schema) == 3
    first = dataset.item_ids.find("a")
    assert first is not None
    document = dataset.item_doc(first)
    assert document["title"] == "Ä"
    assert document["attributes"]["tags"] == ["x", "y"]


LOG = ("log.txt", "u1 a b c\nu2 b c a\n")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--feature", "item:price:numerical"), "price"),
        (("--feature", "price"), "SIDE:NAME:KIND"),
        (("--feature", "item:price:colour"), "colour"),
        (("--items", "none.csv"), "none.csv"),
    ],
)
def test_features_and_files_that_are_not_there(tmp_path: Path, flags: tuple[str, ...], message: str) -> None:
    assert message in refused(tmp_path, LOG[1], "--format", "sequences", *flags, name=LOG[0])


NUMBERS = b"1 2 3\n4 55 666\n" * (1 << 19)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("log", b"PAR1" + bytes(1 << 23), "parquet"),
        ("log.csv", b"user,item\n" + NUMBERS, "csv"),
        ("log.txt", NUMBERS, "sequences"),
        ("log.txt.gz", gzip.compress(NUMBERS, 1), "sequences"),
        ("log.gz", "ü".encode() * (1 << 14) + b"," + "ü".encode() * (1 << 20), "csv"),
    ],
)
def test_a_format_is_told_by_the_first_lines_alone(tmp_path: Path, name: str, content: bytes, expected: str) -> None:
    """The last is text that was unpacked already; the end of what is looked at halves a character."""
    (tmp_path / name).write_bytes(content)
    tracemalloc.start()
    try:
        assert detect_format(tmp_path / name) == expected
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_format_that_cannot_be_told(tmp_path: Path) -> None:
    assert "--format" in refused(tmp_path, "what is this\n", name="log")
    assert "empty" in refused(tmp_path, "", name="nothing")
    with pytest.raises(DataError, match="does not exist"):
        run(tmp_path, tmp_path / "missing.csv", "--format", "csv", *FLAGS)
