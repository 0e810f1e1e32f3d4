"""Timestamps as they are met (numbers of several units, ISO 8601 text, Arrow's own types) → seconds and their fractions."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from sparcode_es.errors import ConfigError

Unit = Literal["auto", "s", "ms", "us", "ns"]
DIVISORS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
EXAMPLES = "2026-12-31 or 2026-12-31T18:30:00"
LATEST = 253_402_300_800
"""Seconds from 1970 to the year 10000, which ISO 8601 has no digits for."""
NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
FINER = r"(\.[0-9]{6})[0-9]+"
"""Digits of a fraction beyond the microsecond: with them pandas counts nanoseconds, which reach from 1677 to 2262 only."""
DAY = 86_400
CALENDAR = {8: "%Y%m%d", 14: "%Y%m%d%H%M%S"}
"""Dates that are written as numbers, by their digits: 20261231 and 20261231183000."""


def parse_times(column: pa.Array, unit: Unit = "auto") -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Seconds, float64 [n] (to the microsecond; 0 where bad), and by reason which rows are bad, bool [n].

    `auto` takes the unit of numbers from their median: seconds below 10¹¹, then milli-, micro- and nanoseconds. Numbers that are
    all dates without signs between (20261231, 20261231183000) are those dates.
    """
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        values, parsed = _from_stamps(column), np.ones(len(column), dtype=bool)
    elif pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        values = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        parsed = np.isfinite(values)
        values = _to_seconds(np.where(parsed, values, 0.0), parsed, unit)
    else:
        values, parsed = _from_text(column.cast(pa.large_string()), unit)
    missing = pc.is_null(column, nan_is_null=pa.types.is_floating(column.type)).to_numpy(zero_copy_only=False)
    negative = parsed & ~missing & (values < 0)
    late = parsed & ~missing & (values >= LATEST)
    reasons = {
        "the time is missing": missing,
        f"the time is neither a number nor ISO 8601 ({EXAMPLES})": ~parsed & ~missing,
        "the time is negative (before 1970)": negative,
        "the time is after the year 9999 (--time-unit says what numbers count)": late,
    }
    good = parsed & ~missing & ~negative & ~late
    return np.where(good, values, 0.0), reasons


def _from_stamps(column: pa.Array) -> np.ndarray:
    """Seconds of timestamps or dates, from their own numbers: a cast to another unit refuses what it would round."""
    if pa.types.is_date32(column.type):
        return pc.fill_null(column.cast(pa.int32()), 0).to_numpy().astype(np.float64) * DAY
    unit = "ms" if pa.types.is_date64(column.type) else column.type.unit
    numbers = pc.fill_null(column.cast(pa.int64()), 0).to_numpy()
    return numbers // 1000 / DIVISORS["us"] if unit == "ns" else numbers / DIVISORS[unit]


def _from_text(text: pa.Array, unit: Unit) -> tuple[np.ndarray, np.ndarray]:
    text = pc.utf8_trim_whitespace(text)
    numeric = pc.fill_null(pc.match_substring_regex(text, NUMBER), False).to_numpy(zero_copy_only=False)
    values = np.zeros(len(text), dtype=np.float64)
    values[numeric] = pc.cast(text.filter(pa.array(numeric)), pa.float64()).to_numpy(zero_copy_only=False)
    parsed = numeric & np.isfinite(values)
    values = _to_seconds(np.where(parsed, values, 0.0), parsed, unit)
    if not numeric.all():
        words = pc.replace_substring_regex(text.filter(pa.array(~numeric)), FINER, r"\1").to_pandas()
        stamps = pd.to_datetime(words, format="ISO8601", errors="coerce", utc=True)
        dated = stamps.notna().to_numpy()
        numbers = stamps.dt.as_unit("us").to_numpy(dtype="datetime64[us]").astype(np.int64)
        values[~numeric] = np.where(dated, numbers / DIVISORS["us"], 0.0)
        parsed[~numeric] = dated
    return values, parsed


def _to_seconds(values: np.ndarray, known: np.ndarray, unit: Unit) -> np.ndarray:
    if unit == "auto":
        dates = _from_calendar(values[known])
        if dates is not None:
            return _placed(dates, known)
        median = float(np.median(np.abs(values[known]))) if known.any() else 0.0
        unit = "s" if median < 1e11 else "ms" if median < 1e14 else "us" if median < 1e17 else "ns"
    return values / DIVISORS[unit]


def _from_calendar(values: np.ndarray) -> np.ndarray | None:
    """Seconds of numbers that are all dates from 1980 to 2099 as one would write them (`CALENDAR`), None for other numbers."""
    if not len(values) or np.any(values != np.floor(values)):
        return None
    digits = next(
        (d for d in CALENDAR if 1980 <= values.min() // 10 ** (d - 4) <= values.max() // 10 ** (d - 4) < 2100), None
    )
    if digits is None:
        return None
    stamps = pd.to_datetime(pd.Series(values.astype(np.int64).astype(str)), format=CALENDAR[digits], errors="coerce")
    return None if stamps.isna().any() else stamps.to_numpy(dtype="datetime64[s]").astype(np.float64)


def _placed(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Values of the rows that are known, 0 for others."""
    placed = np.zeros(len(known))
    placed[known] = values
    return placed


def parse_time(text: str) -> float:
    """One timestamp of a flag (seconds, or ISO 8601) as seconds to the microsecond, a whole number of them as an int.

    Raises `ConfigError`.
    """
    values, reasons = parse_times(pa.array([text]), "s")
    for reason, found in reasons.items():
        if found[0]:
            raise ConfigError(f"{text!r} cannot be used as a time: {reason}")
    seconds = float(values[0])
    return int(seconds) if seconds.is_integer() else seconds
