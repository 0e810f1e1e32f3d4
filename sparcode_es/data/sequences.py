"""The `sequences` format: `user item` pairs, or `user item item …` lines, oldest first; no times."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sparcode_es.data.events import Events, ReadReport
from sparcode_es.data.text import bad_identifiers, lines_of, make_events
from sparcode_es.errors import DataError

Layout = Literal["auto", "pairs", "lines"]


def read_sequences(content: bytes, source: str, layout: Layout = "auto", skip_bad_rows: bool = False) -> Events:
    """Read either layout. Raises `DataError` for an empty file, and for bad rows unless they are skipped.

    `auto` takes nine tenths of lines with exactly two words as pairs. A row is bad when it has too few words (or, as
    pairs, too many), or an identifier that is negative or NaN.
    """
    lines = lines_of(content, source)
    filled = pc.not_equal(lines, "").to_numpy(zero_copy_only=False)
    numbers = np.flatnonzero(filled) + 1
    if not filled.any():
        raise DataError(f"{source} is empty")
    words = pc.utf8_split_whitespace(lines.filter(pa.array(filled)))
    lengths = pc.list_value_length(words).to_numpy(zero_copy_only=False).astype(np.int64)
    if layout == "auto":
        layout = "pairs" if (lengths == 2).mean() >= 0.9 else "lines"
    report = ReadReport(rows=len(lengths))
    bad = _bad_rows(words, lengths, numbers, layout, report)
    report.check(source, skip_bad_rows)
    words, lengths = words.filter(pa.array(~bad)), lengths[~bad]
    flat = words.flatten()
    begins = np.cumsum(lengths) - lengths
    is_item = np.ones(len(flat), dtype=bool)
    is_item[begins] = False
    users = flat.take(pa.array(np.repeat(begins, np.maximum(lengths - 1, 0))))
    return make_events(users, flat.filter(pa.array(is_item)), None, report)


def _bad_rows(
    words: pa.Array, lengths: np.ndarray, numbers: np.ndarray, layout: Layout, report: ReadReport
) -> np.ndarray:
    """Which rows are bad, bool [rows]; each is reported once, for the first reason that holds."""
    bad = np.zeros(len(lengths), dtype=bool)
    row_of_word = np.repeat(np.arange(len(lengths)), lengths)
    _, missing, negative = bad_identifiers(words.flatten())
    reasons = {
        "too few columns: a user and at least one item are needed": lengths < 2,
        "too many columns: a pair has a user and an item (--layout lines: a user and all their items)": (lengths > 2)
        & (layout == "pairs"),
        "an identifier is negative": np.isin(np.arange(len(lengths)), row_of_word[negative]),
        "an identifier is NaN or null": np.isin(np.arange(len(lengths)), row_of_word[missing]),
    }
    for reason, found in reasons.items():
        fresh = found & ~bad
        report.refuse(numbers[fresh], reason)
        bad |= fresh
    return bad
