"""Times at the edges of what pandas and Arrow count, and bounds of a temporal split between two seconds."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from sparcode_es_cli.main import cli

from sparcode_es.data.dataset import Dataset
from sparcode_es.data.times import LATEST, parse_time, parse_times
from sparcode_es.errors import DataError

SECOND = 1_767_225_600
"""2026-01-01"""


def run(folder: Path, log: str | pa.Table, *flags: str) -> Dataset:
    """The data folder of a log, as text or as a table."""
    path = folder / ("log.csv" if isinstance(log, str) else "log.parquet")
    path.write_text(log) if isinstance(log, str) else pq.write_table(log, path)
    result = CliRunner().invoke(cli, ["data", "import", str(path), "--out", str(folder / "data"), *flags])
    if result.exception is not None:
        raise result.exception
    return Dataset.open(folder / "data")


def bad(column: pa.Array) -> list[str]:
    """The reasons for which a value is refused."""
    return [reason for reason, rows in parse_times(column)[1].items() if rows.any()]


@pytest.mark.parametrize("value", ["1600-01-01", "0001-01-01"])
def test_dates_that_stand_for_no_date_are_bad_rows(tmp_path: Path, value: str) -> None:
    log = f"user,item,time\na,x,{value}\na,y,2026-01-01\n"
    with pytest.raises(DataError, match=f"line 2: .*column 'time': '{value}'"):
        run(tmp_path, log)
    assert run(tmp_path, log, "--skip-bad-rows").times.tolist() == [SECOND]


@pytest.mark.parametrize("beside", ["2026-01-01", "2026-01-01T00:00:00.123456789"])
def test_a_date_centuries_ahead_breaks_no_log(tmp_path: Path, beside: str) -> None:
    """A time where pandas counts so far, else a bad row."""
    log = f"user,item,time\na,x,9999-12-31\na,y,{beside}\n"
    times = run(tmp_path, log, "--skip-bad-rows").times.tolist()
    assert times in ([SECOND], [SECOND, LATEST - 86_400])


def test_texts_are_read_to_the_microsecond() -> None:
    column = pa.array(["2026-01-01T00:00:00.123456789", "2026-01-01T02:00:00.123456+02:00", ".5", "+1.", None])
    assert parse_times(column, "s")[0].tolist() == [SECOND + 0.123456] * 2 + [0.5, 1.0, 0.0]
    assert bad(pa.array(["2026-01-01T00:00:00.1234567x"])) == bad(pa.array(["."])) != []


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_timestamps_of_every_unit(tmp_path: Path, unit: str, zone: str | None) -> None:
    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    numbers = [SECOND * per_second + per_second - 1, SECOND * per_second]
    table = pa.table({"user": ["a", "a"], "item": ["x", "y"], "time": pa.array(numbers, pa.timestamp(unit, zone))})
    dataset = run(tmp_path, table)
    assert dataset.times.tolist() == [SECOND] * 2
    assert [dataset.item_ids[int(item)] for item in dataset.items] == (["x", "y"] if unit == "s" else ["y", "x"])


def test_timestamps_that_cannot_be_are_bad_rows() -> None:
    far = np.iinfo(np.int64).max
    for column in (pa.array([far], pa.timestamp("s")), pa.array([far], pa.date64())):
        assert "after the year 9999" in bad(column)[0]
    assert "negative" in bad(pa.array([-1], pa.timestamp("ns")))[0]
    assert bad(pa.array([None], pa.timestamp("ns"))) == ["the time is missing"]


@pytest.mark.parametrize("kind", [pa.date32(), pa.date64()])
def test_dates(kind: pa.DataType) -> None:
    column = pa.array([datetime.date(2026, 1, 1), None], kind)
    assert parse_times(column)[0].tolist() == [SECOND, 0.0]


@pytest.mark.parametrize(
    ("text", "seconds"), [("2026-01-01", SECOND), ("2026-01-01T00:00:00.5", SECOND + 0.5), ("3", 3), ("3.25", 3.25)]
)
def test_a_flag_has_its_fraction(text: str, seconds: Any) -> None:
    found = parse_time(text)
    assert (found, type(found)) == (seconds, type(seconds))


def test_a_temporal_split_cuts_between_two_seconds(tmp_path: Path) -> None:
    rows = "".join(f"u{n % 5},i{n % 7},{SECOND + n / 50}\n" for n in range(100))
    counts = run(tmp_path, "user,item,time\n" + rows, "--split", "temporal").manifest.counts
    assert (counts.train, counts.valid, counts.test) == (80, 10, 10)


def test_bounds_of_a_temporal_split_have_fractions(tmp_path: Path) -> None:
    log = "user,item,time\n" + "".join(f"u,{item},2026-01-01T00:00:00.{item}\n" for item in (2, 5, 7, 1))
    flags = ("--split", "temporal", "--valid-from", "2026-01-01T00:00:00.5", "--test-from", f"{SECOND}.7")
    dataset = run(tmp_path, log, *flags)
    counts = dataset.manifest.counts
    assert (counts.train, counts.valid, counts.test) == (2, 1, 1)
    assert dataset.times.tolist() == [SECOND] * 4
    shown = CliRunner().invoke(cli, ["data", "describe", str(tmp_path / "data")]).output
    assert "valid_from 1,767,225,600.5, test_from 1,767,225,600.7\n" in shown
    with pytest.raises(DataError, match=r"validation would begin at 1767225601\.5, after the test at 1767225600\.7"):
        run(tmp_path, log, "--split", "temporal", "--valid-from", f"{SECOND + 1}.5")


@pytest.mark.parametrize("kind", [pa.string(), pa.int64(), pa.float64()])
def test_dates_written_as_numbers_are_dates(kind: pa.DataType) -> None:
    """Not seconds of August 1970, nor milliseconds of 2612."""
    days, moments = [20260101, 20260102], [20260101000000, 20260102183000]
    for numbers, seconds in ((days, [SECOND, SECOND + 86_400]), (moments, [SECOND, SECOND + 86_400 + 66_600])):
        values, reasons = parse_times(pa.array([*numbers, None], pa.int64()).cast(kind))
        assert values.tolist() == [*seconds, 0.0]
        assert [reason for reason, rows in reasons.items() if rows.any()] == ["the time is missing"]
    assert parse_times(pa.array(days).cast(kind), "s")[0].tolist() == days, "a unit is a unit"
    for other in ([20260101, 20260199], [20260101, 20260101.5], [20260101, 1_767_225_600], [19260101]):
        assert parse_times(pa.array(other, pa.float64()))[0].tolist() == other
