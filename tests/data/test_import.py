"""`data import` and `data describe` from the command line: good logs go in, bad ones are refused in a sentence."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from sparcode_es_cli.main import cli

from sparcode_es.data.dataset import Dataset
from sparcode_es.errors import DataError
from sparcode_es.evaluation.ranking import rank_metrics

CSV = "user,item,time\nu1,a,1\nu1,b,2\nu1,c,3\nu2,b,5\nu2,a,4\n"


def imported(tmp_path: Path, name: str, content: str | bytes, *flags: str) -> Dataset:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    arguments = ["data", "import", str(path), "--out", str(tmp_path / "data"), *flags]
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return Dataset.open(tmp_path / "data", verify=True)


COLUMNS = ("--user-column", "user", "--item-column", "item", "--time-column", "time")


@pytest.mark.parametrize(
    ("name", "content", "flags"),
    [
        ("log.txt", "u1 a b c\nu2 a b\n", ("--format", "sequences")),
        ("log.txt", "u1 a\nu1 b\nu1 c\nu2 a\nu2 b\n", ("--format", "sequences")),
        ("log.txt.gz", gzip.compress(b"u1 a b c\nu2 a b\n", mtime=0), ("--format", "sequences")),
        ("log.csv", CSV, ("--format", "csv", *COLUMNS)),
        ("log.csv.gz", gzip.compress(CSV.encode(), mtime=0), ("--format", "csv", *COLUMNS)),
    ],
)
def test_every_layout_gives_the_same_histories(
    tmp_path: Path, name: str, content: str | bytes, flags: tuple[str, ...]
) -> None:
    dataset = imported(tmp_path, name, content, *flags)
    histories = dataset.full_histories()
    found = {dataset.user_ids[u]: [dataset.item_ids[int(i)] for i in histories[u]] for u in range(dataset.num_users)}
    assert found == {"u1": ["a", "b", "c"], "u2": ["a", "b"]}


def test_leave_one_out(tmp_path: Path) -> None:
    dataset = imported(tmp_path, "log.txt", "u1 a b c d\nu2 a b\n", "--format", "sequences")
    for split, target, history in (("valid", "c", "ab"), ("test", "d", "abc")):
        cases = dataset.cases(split)  # type: ignore[arg-type]
        assert [dataset.item_ids[int(i)] for i in cases.target_items] == [target]
        assert "".join(dataset.item_ids[int(i)] for i in cases.history_items) == history
    train = dataset.train_sequences()
    assert np.diff(train.offsets.astype(np.int64)).tolist() == [2, 2]


def test_describe_as_json(tmp_path: Path) -> None:
    imported(tmp_path, "log.txt", "u1 a b c d\nu2 a b\n", "--format", "sequences")
    result = CliRunner().invoke(cli, ["data", "describe", str(tmp_path / "data"), "--json"], catch_exceptions=False)
    found = json.loads(result.output)
    assert (found["users"], found["items"], found["events"]) == (2, 4, 6)
    assert found["labels"] == {"train": 4, "valid": 1, "test": 1, "context": 0}


BAD = [
    ("empty.txt", b"", ("--format", "sequences")),
    ("short.txt", b"u1\nu2 a b\n", ("--format", "sequences")),
    ("negative.txt", b"1 2 -3\n", ("--format", "sequences")),
    ("broken.txt.gz", gzip.compress(b"u1 a b c\n" * 100, mtime=0)[:-9], ("--format", "sequences")),
    ("empty.csv", b"", ("--format", "csv", *COLUMNS)),
    ("column.csv", b"user,thing,time\nu1,a,1\n", ("--format", "csv", *COLUMNS)),
    ("nan.csv", b"user,item,time\nu1,,1\nu2,b,2\n", ("--format", "csv", *COLUMNS)),
    ("time.csv", b"user,item,time\nu1,a,soon\nu2,b,2\n", ("--format", "csv", *COLUMNS)),
    ("minus.csv", b"user,item,time\nu1,a,-5\nu2,b,2\n", ("--format", "csv", *COLUMNS)),
    ("nobody.csv", b"user,item,time\n-1,a,5\nu2,b,2\n", ("--format", "csv", *COLUMNS)),
    ("nothing.csv", b"user,item,time\nNaN,a,5\nu2,b,2\n", ("--format", "csv", *COLUMNS)),
    ("not.parquet", b"this is not parquet", ("--format", "parquet", *COLUMNS)),
]


@pytest.mark.parametrize(("name", "content", "flags"), BAD, ids=[case[0] for case in BAD])
def test_bad_logs_are_refused(tmp_path: Path, name: str, content: bytes, flags: tuple[str, ...]) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    result = CliRunner().invoke(cli, ["data", "import", str(path), "--out", str(tmp_path / "data"), *flags])
    assert isinstance(result.exception, DataError), result.exception
    assert name in str(result.exception)
    assert not (tmp_path / "data").exists()


def test_bad_rows_can_be_skipped_and_are_counted(tmp_path: Path) -> None:
    content = "user,item,time\nu1,a,1\nu1,,2\nu1,b,3\nu1,c,4\n"
    dataset = imported(tmp_path, "log.csv", content, "--format", "csv", *COLUMNS, "--skip-bad-rows")
    assert dataset.num_events == 3
    assert dataset.manifest.counts.bad_rows == 1


def test_negative_numbers_are_identifiers_where_one_says_so(tmp_path: Path) -> None:
    content = "user,item,time\n-7,-1,1\n-7,b,2\n"
    dataset = imported(tmp_path, "log.csv", content, "--format", "csv", *COLUMNS, "--negative-ids")
    assert dataset.user_ids.find("-7") is not None
    assert dataset.item_ids.find("-1") is not None


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (("--format", "sequences", "--user-column", "user"), "--user-column"),
        (("--format", "sequences", "--held-out", "0.2"), "--held-out"),
        (("--format", "sequences", "--split", "leave-last-out", "--seed", "1"), "--seed"),
        (("--format", "sequences", "--last", "2"), "--last"),
        (("--format", "sequences", "--split", "users", "--test-from", "5"), "--test-from"),
    ],
)
def test_a_flag_that_means_nothing_is_refused(tmp_path: Path, flags: tuple[str, ...], named: str) -> None:
    (tmp_path / "log").write_text("u1 a b c d\n")
    result = CliRunner().invoke(cli, ["data", "import", str(tmp_path / "log"), "--out", str(tmp_path / "data"), *flags])
    assert result.exit_code == 2
    assert f"{named} means nothing" in result.output


def test_a_number_that_cannot_be_is_found_on_opening(tmp_path: Path) -> None:
    dataset = imported(tmp_path, "log.txt", "u1 a b c d\nu2 a b\n", "--format", "sequences")
    file = dataset.path / "events.items.npy"
    content = bytearray(file.read_bytes())
    content[-1] ^= 64
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"events\.items holds"):
        Dataset.open(dataset.path)


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (("--user-column", "item", "--item-column", "item"), "columns of their own"),
        (("--user-column", "user", "--item-column", "item", "--time-column", "item"), "columns of their own"),
        (("--separator", ";;"), "one ASCII character"),
        (("--split", "temporal", "--valid-from", "0", "--test-from", "1", "--time-column", "time"), "train on"),
    ],
)
def test_options_that_cannot_be(tmp_path: Path, flags: tuple[str, ...], named: str) -> None:
    (tmp_path / "log.csv").write_text("user,item,time\nu1,a,5\nu1,b,6\nu1,c,7\n")
    result = CliRunner().invoke(
        cli, ["data", "import", str(tmp_path / "log.csv"), "--out", str(tmp_path / "d"), *flags]
    )
    assert isinstance(result.exception, DataError), result.output
    assert named in str(result.exception)
    assert not (tmp_path / "d").exists()


def test_parquet_columns_that_are_no_identifiers(tmp_path: Path) -> None:
    for users in ([{"a": 1}, {"a": 2}], [b"\xff\xfe", b"\xff"]):
        pd.DataFrame({"user": users, "item": ["a", "b"]}).to_parquet(tmp_path / "log.parquet")
        result = CliRunner().invoke(
            cli, ["data", "import", str(tmp_path / "log.parquet"), "--out", str(tmp_path / "d")]
        )
        assert isinstance(result.exception, DataError), result.output


@pytest.mark.parametrize("damage", ["missing", "truncated", "flipped", "foreign"])
def test_a_damaged_folder_is_refused(tmp_path: Path, damage: str) -> None:
    imported(tmp_path, "log.txt", "u1 a b c d\nu2 a b\n", "--format", "sequences")
    path = tmp_path / "data" / ("manifest.json" if damage == "foreign" else "events.items.npy")
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(content[:-4])
    elif damage == "flipped":
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    else:
        path.write_text('{"hello": 1}')
    with pytest.raises(DataError):
        Dataset.open(tmp_path / "data", verify=True)


def test_a_target_that_is_met_again_is_one_target(tmp_path: Path) -> None:
    """Ten users with the same habit: whatever is ranked first, no metric passes 1."""
    log = "\n".join(f"u{user} {'c d e f ' * 4}a a b a" for user in range(10))
    dataset = imported(tmp_path, "log.txt", log + "\n", "--format", "sequences", "--split", "users")
    cases = dataset.cases("test")
    assert [dataset.item_ids[int(item)] for item in cases.targets[0]] == ["a", "b"]
    scores = np.tile(np.arange(dataset.num_items, 0, -1, dtype=np.float32), (len(cases), 1))
    found = rank_metrics(lambda rows: scores[rows], cases, dataset.num_items)["all"]
    assert found["recall@5"] == found["ndcg@5"] == 1.0
    assert found["precision@5"] == pytest.approx(2 / 5)


def test_with_validation_a_held_out_user_is_learned_from_whole(tmp_path: Path) -> None:
    log = "\n".join(f"u{user} a b c d e f g" for user in range(10))
    dataset = imported(tmp_path, "log.txt", log + "\n", "--format", "sequences", "--split", "users")
    asked = set(dataset.cases("valid").users.tolist())
    before, after = dataset.train_sequences(), dataset.train_sequences(with_validation=True)
    assert asked
    assert set(after.users.tolist()) - set(before.users.tolist()) == asked
    assert not set(dataset.cases("test").users.tolist()) & set(after.users.tolist())
    for row, user in enumerate(after.users):
        assert after[row].tolist() == dataset.full_histories()[int(user)].tolist()


@pytest.mark.parametrize("unit", ["iso", "ms"])
def test_fractions_of_a_second_tell_the_order(tmp_path: Path, unit: str) -> None:
    times = [f"2026-01-01T00:00:00.{k}Z" if unit == "iso" else str(1_767_225_600_000 + 100 * k) for k in range(6)]
    rows = [f"u,{item},{time}" for item, time in zip("abcdea", times, strict=True)]
    dataset = imported(
        tmp_path, "log.csv", "user,item,time\n" + "\n".join(rows[::-1]) + "\n", "--drop-duplicates", *COLUMNS
    )
    assert [dataset.item_ids[int(item)] for item in dataset.items] == list("abcdea")
    assert dataset.times.tolist() == [1_767_225_600] * 6


@pytest.mark.parametrize("newest_first", [False, True])
def test_events_of_one_time_are_in_the_order_of_the_log(tmp_path: Path, newest_first: bool) -> None:
    rows = ["u1,a,1", "u1,b,2", "u1,c,2", "u1,d,3", "u2,a,4", "u2,c,5", "u2,b,5"]
    text = "user,item,time\n" + "\n".join(rows[::-1] if newest_first else rows) + "\n"
    dataset = imported(tmp_path, "log.csv", text, *COLUMNS)
    assert "".join(dataset.item_ids[int(item)] for item in dataset.items) == "abcdacb"
