"""Timestamps as they are met (numbers of several units, ISO 8601 text, Arrow's own types) → seconds and their fractions."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from sparcode_es.errors import DataError

Unit = Literal["auto", "s", "ms", "us", "ns"]
DIVISORS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
EXAMPLES = "2026-12-31 or 2026-12-31T18:30:00"
LATEST = 253_402_300_800
"""Seconds from 1970 to the year 10000, which ISO 8601 has no digits for."""
NUMBER = r"^[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?$"


def parse_times(column: pa.Array, unit: Unit = "auto") -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Seconds, float64 [n] (to the microsecond; 0 where bad), and by reason which rows are bad, bool [n].

    `auto` takes the unit of numbers from their median: seconds below 10¹¹, then milli-, micro- and nanoseconds.
    """
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        seconds = pc.cast(pc.cast(column, pa.timestamp("us")), pa.int64()).to_numpy(zero_copy_only=False)
        values, parsed = np.nan_to_num(seconds.astype(np.float64)) / DIVISORS["us"], np.ones(len(column), dtype=bool)
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
        "the time is negative": negative,
        "the time is after the year 9999 (--time-unit says what numbers count)": late,
    }
    good = parsed & ~missing & ~negative & ~late
    return np.where(good, values, 0.0), reasons


def _from_text(text: pa.Array, unit: Unit) -> tuple[np.ndarray, np.ndarray]:
    text = pc.utf8_trim_whitespace(text)
    numeric = pc.fill_null(pc.match_substring_regex(text, NUMBER), False).to_numpy(zero_copy_only=False)
    values = np.zeros(len(text), dtype=np.float64)
    values[numeric] = pc.cast(text.filter(pa.array(numeric)), pa.float64()).to_numpy(zero_copy_only=False)
    parsed = numeric & np.isfinite(values)
    values = _to_seconds(np.where(parsed, values, 0.0), parsed, unit)
    if not numeric.all():
        words = text.filter(pa.array(~numeric)).to_pandas()
        stamps = pd.to_datetime(words, format="ISO8601", errors="coerce", utc=True)
        dated = stamps.notna().to_numpy()
        seconds = (stamps - pd.Timestamp(0, tz="UTC")).dt.total_seconds().to_numpy()
        values[~numeric] = np.where(dated, seconds, 0.0)
        parsed[~numeric] = dated
    return values, parsed


def _to_seconds(values: np.ndarray, known: np.ndarray, unit: Unit) -> np.ndarray:
    if unit == "auto":
        median = float(np.median(np.abs(values[known]))) if known.any() else 0.0
        unit = "s" if median < 1e11 else "ms" if median < 1e14 else "us" if median < 1e17 else "ns"
    return values / DIVISORS[unit]


def parse_time(text: str) -> int:
    """One timestamp of a flag: seconds, or ISO 8601, in whole seconds. Raises `DataError`."""
    values, reasons = parse_times(pa.array([text]), "s")
    for reason, found in reasons.items():
        if found[0]:
            raise DataError(f"{text!r} cannot be used as a time: {reason}")
    return int(values[0])
