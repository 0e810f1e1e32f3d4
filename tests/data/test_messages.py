"""What `data import` and `data describe` say of titles, of side tables that do not fit, and of values that cannot be read."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from sparcode_es_cli.main import cli

from sparcode_es.data.dataset import Dataset
from sparcode_es.errors import ConfigError, DataError, StorageError

LOG = "reader,isbn,date\nu1,a,2026-01-01\nu1,b,2026-01-02\nu1,c,2026-01-03\nu2,b,2026-01-04\nu2,a,2026-01-05\n"
NAMED = ("--user-column", "reader", "--item-column", "isbn", "--time-column", "date")


def run(folder: Path, *flags: str, log: str | bytes = LOG) -> Result:
    """Import `log` with these flags into `folder`/data."""
    path = folder / "log.csv"
    path.write_bytes(log if isinstance(log, bytes) else log.encode())
    return CliRunner().invoke(cli, ["data", "import", str(path), "--out", str(folder / "data"), *NAMED, *flags])


def table(folder: Path, content: str | bytes, name: str = "books.csv") -> str:
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(folder / name)


def described(folder: Path, *flags: str) -> Result:
    return CliRunner().invoke(cli, ["data", "describe", str(folder), *flags])


def test_a_missing_title_column_is_told_with_the_columns_there_are(tmp_path: Path) -> None:
    books = table(tmp_path, "id,Book-Title,author\na,Ä,x\nb,B,y\nz,Z,z\n")
    result = run(tmp_path, "--items", books)
    assert result.exit_code == 0, result.output
    assert f"{books} has no column 'title', so items have no titles" in result.stderr
    assert "--title-column (Book-Title, author)" in result.stderr
    assert f"{books} knows 2 of the log's 3 items" in result.stderr
    again = run(tmp_path, "--items", books, "--title-column", "Book-Title")
    assert "no titles" not in again.stderr
    assert Dataset.open(tmp_path / "data").item_title(0) == "Ä"


@pytest.mark.parametrize(
    ("side", "column", "content"),
    [("item", "isbn", "number,title\n9,A\n8,B\n"), ("user", "reader", "number,age\n9,30\n")],
)
def test_a_side_table_of_other_ids_is_an_error(tmp_path: Path, side: str, column: str, content: str) -> None:
    result = run(tmp_path, f"--{side}s", table(tmp_path, content))
    assert isinstance(result.exception, DataError), result.output
    first = "a" if side == "item" else "u1"
    assert f"knows none of the log's {side}s: its column 'number' has ids such as '9'" in str(result.exception)
    assert f"the log's column {column!r} such as {first!r}" in str(result.exception)
    assert f"--{side}s-id-column" in str(result.exception)
    assert result.exception.exit_code == 4
    assert not (tmp_path / "data").exists()


def test_names_of_columns_cannot_write_to_the_terminal(tmp_path: Path) -> None:
    result = run(tmp_path, "--items", table(tmp_path, "id,\x1b[31mred\na,1\n"))
    assert result.exit_code == 0
    assert "red" in result.stderr
    assert "\x1b" not in result.stderr + described(tmp_path / "data").output


@pytest.mark.parametrize("side", ["item", "user"])
def test_ids_that_elasticsearch_does_not_take_are_told_at_once(tmp_path: Path, side: str) -> None:
    """Not by `index`, after a training."""
    fits, name = "é" * 256, "u1" if side == "user" else "b"
    result = run(tmp_path, log=LOG.replace(f"{name},", f"{fits},"))
    assert (result.exit_code, "Elasticsearch" in result.stderr) == (0, False), result.output
    result = run(tmp_path, log=LOG.replace(f"{name},", f"{fits}x,"))
    assert result.exit_code == 0, result.output
    assert f"1 {side} id of more than 512 bytes, such as 'éééé" in result.stderr
    assert len(result.stderr.splitlines()[0]) < 350


def test_a_side_table_without_rows_is_an_error(tmp_path: Path) -> None:
    result = run(tmp_path, "--items", table(tmp_path, "id,title\n"))
    assert isinstance(result.exception, DataError)
    assert "books.csv has no row below its header; leave out --items" in str(result.exception)


def test_describe_counts_titles_and_attributes(tmp_path: Path) -> None:
    books = table(tmp_path, "id,title,author,year\na,Ä,x,1999\nb,B,,2000\nc,,z,2001\n")
    run(tmp_path, "--items", books, "--feature", "item:year:numerical")
    text = described(tmp_path / "data").output
    assert "items_with_title 2\n" in text
    assert "attributes       author 2, year 3\n" in text
    assert "features         item:year:numerical (1)\n" in text
    found = json.loads(described(tmp_path / "data", "--json").output)
    assert (found["items_with_title"], found["attributes"]) == (2, {"author": 2, "year": 3})
    run(tmp_path)
    assert "items_with_title 0\nattributes       none\n" in described(tmp_path / "data").output


@pytest.mark.parametrize(
    ("flags", "shown"),
    [
        ((), {"protocol"}),
        (("--split", "leave-last-out", "--last", "1"), {"protocol", "last"}),
        (("--split", "temporal", "--test-from", "2026-01-05"), {"protocol", "held_out", "test_from"}),
    ],
)
def test_describe_shows_the_settings_that_the_split_reads(
    tmp_path: Path, flags: tuple[str, ...], shown: set[str]
) -> None:
    assert run(tmp_path, *flags).exit_code == 0
    assert json.loads(described(tmp_path / "data", "--json").output)["split"].keys() == shown


def test_describe_says_what_it_verified(tmp_path: Path) -> None:
    run(tmp_path)
    files = len(Dataset.open(tmp_path / "data").manifest.files)
    assert "verified" not in described(tmp_path / "data").output
    assert f"verified_files   {files}\n" in described(tmp_path / "data", "--verify").output
    assert json.loads(described(tmp_path / "data", "--verify", "--json").output)["verified_files"] == files


def test_titles_and_attributes_that_a_new_import_lacks_are_told(tmp_path: Path) -> None:
    """They would be missed after the next training, in every answer."""
    books = table(tmp_path, "id,title,author,year\na,Ä,x,1990\nb,B,y,\n")
    lost = f"{tmp_path / 'data'} had "
    assert lost not in run(tmp_path, "--items", books).stderr
    assert lost not in run(tmp_path, "--items", books).stderr
    fewer = run(tmp_path, "--items", books, "--attribute", "author").stderr
    assert f"{lost}the attribute 'year', which this import lacks; give the table" in fewer
    run(tmp_path, "--items", books)
    alone = run(tmp_path)
    assert (alone.exit_code, alone.stderr.count(lost)) == (0, 1)
    assert f"{lost}the attribute 'author', the attribute 'year', titles, which this import lacks" in alone.stderr
    assert lost not in run(tmp_path).stderr
    (tmp_path / "data" / "manifest.json").write_text("{}")
    assert isinstance(run(tmp_path).exception, StorageError)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (
            ("--split", "temporal", "--valid-from", "2027-01-01", "--test-from", "2027-02-01"),
            "no validation and no test",
        ),
        (("--split", "temporal", "--valid-from", "2026-01-03", "--test-from", "2027-02-01"), "no test"),
        (("--k-core", "2"), "no validation and no test"),
        (("--split", "leave-last-out"), "no validation and no test"),
        (("--split", "users", "--held-out", "0.4"), "no validation and no test"),
    ],
)
def test_a_split_that_leaves_nothing_to_ask_is_told(tmp_path: Path, flags: tuple[str, ...], words: str) -> None:
    log = "reader,isbn,date\nu1,a,2026-01-05\nu2,b,2026-01-05\nu3,c,2026-01-05\n" if "users" in flags else LOG
    result = run(tmp_path, *flags, log=log)
    assert result.exit_code == 0, result.output
    split = flags[1] if flags[0] == "--split" else "leave-one-out"
    assert f"--split {split} leaves {words} case: " in result.stderr
    assert "leaves no" not in run(tmp_path).stderr


@pytest.mark.parametrize(
    "flags",
    [
        ("--split", "users", "--held-out", "0.6"),
        ("--split", "users", "--seed", "-1"),
        ("--split", "temporal", "--valid-from", "2027-01-02", "--test-from", "2027-01-01"),
        ("--split", "temporal", "--valid-from", "soon"),
    ],
)
def test_options_out_of_range(tmp_path: Path, flags: tuple[str, ...]) -> None:
    assert isinstance(run(tmp_path, *flags).exception, ConfigError)


@pytest.mark.parametrize("name", ["log.jsonl", "log.ndjson", "log.json"])
def test_json_is_refused_as_a_log_with_what_to_do(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [{"user": "007", "item": i, "time": 10 + place} for place, i in enumerate("abc")]
    table(tmp_path, json.dumps(rows) if name == "log.json" else "\n".join(map(json.dumps, rows)), name)
    error = CliRunner().invoke(cli, ["data", "import", name, "--out", "data"]).exception
    assert isinstance(error, DataError)
    lines = name != "log.json"
    read = f"pandas.read_json({name!r}, lines={lines}, dtype=False).to_parquet('log.parquet')"
    assert str(error) == f"{name} is JSON, which is not read as a log; make Parquet of it: {read}"
    pd.read_json(name, lines=lines, dtype=False).to_parquet("log.parquet")
    done = CliRunner().invoke(cli, ["data", "import", "log.parquet", "--out", "data"])
    assert done.exit_code == 0, done.output
    assert list(Dataset.open("data").user_ids) == ["007"]


def test_a_file_is_no_data_folder(tmp_path: Path) -> None:
    result = described(Path(table(tmp_path, "")))
    assert isinstance(result.exception, DataError)
    assert "is a file, and a data folder is expected" in str(result.exception)


def test_a_date_that_cannot_be_read_is_shown_with_its_column(tmp_path: Path) -> None:
    result = run(tmp_path, log=LOG + "u2,c,31.12.2026\nu2,c,\n")
    assert (
        "line 7: the time is neither a number nor ISO 8601 (2026-12-31 or 2026-12-31T18:30:00), column 'date': '31.12.2026'\n"
        "  line 8: the time is missing, column 'date'\n" in str(result.exception)
    )


@pytest.mark.parametrize("time", ["99999999999999999999999", "253402300800"])
def test_a_time_after_the_year_9999_is_a_bad_row(tmp_path: Path, time: str) -> None:
    result = run(tmp_path, log=f"reader,isbn,date\nu1,a,1\nu1,b,2\nu1,e,3\nu1,c,{time}\nu1,d,253402300799\n")
    assert "1 bad row" in str(result.exception), result.exception
    assert "line 5: the time is after the year 9999" in str(result.exception)


@pytest.mark.parametrize(
    ("name", "words"),
    [("log.parquet", "as Parquet"), ("log.csv.gz", "is not gzip, as its name says"), ("log.gz", "not gzip")],
)
def test_bytes_that_are_not_what_the_name_says(tmp_path: Path, name: str, words: str) -> None:
    path = table(tmp_path, b"\x01\xff\x00\xfe" * 100, name)
    error = CliRunner().invoke(cli, ["data", "import", path, "--out", str(tmp_path / "out")]).exception
    assert isinstance(error, DataError)
    assert words in str(error)
    assert "iconv" not in str(error)


def test_text_that_was_unpacked_already_is_read(tmp_path: Path) -> None:
    path = table(tmp_path, LOG, "log.csv.gz")
    assert CliRunner().invoke(cli, ["data", "import", path, "--out", str(tmp_path / "out"), *NAMED]).exit_code == 0


def test_a_header_alone_is_named(tmp_path: Path) -> None:
    assert "log.csv is empty, or all of its rows are bad" in str(run(tmp_path, log="reader,isbn,date\n").exception)


@pytest.mark.parametrize("where", ["header", "row", "items", "sequences"])
def test_other_encodings_are_told_with_line_byte_and_advice(tmp_path: Path, where: str) -> None:
    if where == "header":
        result = run(tmp_path, log=LOG.replace("date\n", "date,Länge\n").encode("cp1252"))
    elif where == "row":
        result = run(tmp_path, log=(LOG + "ü1,a,2026-01-01\n").encode("cp1252"))
    elif where == "items":
        result = run(tmp_path, "--items", table(tmp_path, "id,title\na,Tür\n".encode("cp1252")))
    else:
        log = table(tmp_path, "u1 a b\nü2 a b\n".encode("cp1252"), "log.txt")
        result = CliRunner().invoke(
            cli, ["data", "import", log, "--format", "sequences", "--out", str(tmp_path / "out")]
        )
    line, byte = {"header": (1, "e4"), "row": (7, "fc"), "items": (2, "fc"), "sequences": (2, "fc")}[where]
    assert isinstance(result.exception, DataError), result.output
    assert f"is not UTF-8 text (line {line}, byte 0x{byte}); save it as UTF-8" in str(result.exception)


def test_the_report_as_json(tmp_path: Path) -> None:
    result = run(tmp_path, "--json", "--items", table(tmp_path, "id\na\n"))
    found = json.loads(result.stdout)
    assert (found["data"], found["users"], found["items"], found["events"]) == (str(tmp_path / "data"), 2, 3, 5)
    assert found["counts"]["bad_rows"] == 0
    assert "knows 1 of the log's 3 items" in result.stderr


def imported(folder: Path, name: str, content: str, *flags: str) -> Result:
    (folder / name).write_text(content)
    return CliRunner().invoke(cli, ["data", "import", str(folder / name), "--out", str(folder / "data"), *flags])


def test_a_log_without_times_is_told_so(tmp_path: Path) -> None:
    """Its newest row may come first."""
    rows = "u1,a,3\nu1,b,2\nu1,a,1\n"
    told = imported(tmp_path, "log.csv", f"user,item,when\n{rows}").stderr
    assert "no column of times: the order of rows is taken for it, oldest first; --time-column names one\n" in told
    assert "1 event of a user and an item that an earlier one has (--drop-duplicates drops them)" in told
    told = imported(tmp_path, "log.csv", f"user,item,event_time\n{rows}").stderr
    assert "no column of times" not in told
    assert "earlier" not in told
    assert Dataset.open(tmp_path / "data").has_times


def test_items_that_no_training_can_know_are_told(tmp_path: Path) -> None:
    old = "".join(f"u{u},i{(u + k) % 5},{k}\n" for u in range(20) for k in range(5))
    launched = "".join(f"u{u},hot,9\n" for u in range(5))
    told = imported(tmp_path, "log.csv", "user,item,time\n" + old + launched).stderr
    assert "1 item without a training event" in told
    assert "0 % of the validation targets and 25 % of the test targets" in told
    assert "training event" not in imported(tmp_path, "log.csv", "user,item,time\n" + old).stderr


@pytest.mark.parametrize("between", [" ", "\t"])
@pytest.mark.parametrize("rating", ["", "5"])
def test_times_without_a_header_do_not_become_items(tmp_path: Path, between: str, rating: str) -> None:
    rows = [[str(u), str(k), *filter(None, [rating]), str(1_700_000_000 + u + k)] for u in range(20) for k in range(5)]
    found = imported(tmp_path, "log.txt", "\n".join(map(between.join, rows)))
    if rating and between == "\t":  # MovieLens' own
        assert found.exit_code == 0
    else:
        assert "looks like `user item … time`" in str(found.exception)
        assert imported(tmp_path, "log.txt", "1 2 3\n4 5 6\n7 8 900000000\n").exit_code == 0


def test_a_history_a_line_among_pairs_is_told_of(tmp_path: Path) -> None:
    lines = [f"u{n} i{n % 7}" for n in range(60)] + ["v1 i1 i2 i3", "v2 i2 i3 i1"]
    found = imported(tmp_path, "log.txt", "\n".join(lines), "--format", "sequences")
    assert "--layout lines: a user and all their items" in str(found.exception)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    """Trimmed as text, users would be taken for one another."""
    path = tmp_path / "log.parquet"
    for users, message in (
        ([b"\x00\x00\x00\t", b"\x00\x00\x00\n"], "are no text"),
        ([b"\xff\x01", b"\xfe\x01"], "cannot be read"),
    ):
        pq.write_table(pa.table({"user": pa.array(users, pa.binary()), "item": ["a", "b"]}), path)
        result = CliRunner().invoke(cli, ["data", "import", str(path), "--out", str(tmp_path / "data")])
        assert isinstance(result.exception, DataError)
        assert message in str(result.exception)
        assert "write them as text, in hexadecimal for example" in str(result.exception)
    pq.write_table(pa.table({"user": pa.array([b"u1", b"u2"], pa.binary()), "item": ["a", "b"]}), path)
    assert CliRunner().invoke(cli, ["data", "import", str(path), "--out", str(tmp_path / "data")]).exit_code == 0
