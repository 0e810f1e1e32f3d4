"""MovieLens in the layouts it is met in: GroupLens's 100K, 1M and 10M files, and RecBole's copy of 100K.

A folder, a zip archive or a single ratings file is read; titles, genres and user columns come from the files beside it.
Every rating is an event.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from sparcode_es.data.events import Events, ReadReport
from sparcode_es.data.text import bad_identifiers, lines_of, make_events, read_bytes, refuse_bomb
from sparcode_es.errors import DataError

UNREADABLE = (
    OSError,
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    KeyError,
)
"""What zipfile raises for damaged, encrypted and unknown archives."""
Members = dict[str, Callable[[], bytes]]
RATINGS = {"u.data": "\t", "ratings.dat": "::", "ml-100k.inter": "\t"}
"""Names of ratings files, and what separates their columns: user, item, rating, timestamp."""
GENRES = [
    "unknown",
    "Action",
    "Adventure",
    "Animation",
    "Children's",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
]
"""The columns of `u.item` behind the fifth, in order."""


@dataclass(frozen=True)
class MovieLens:
    """Events, and tables by identifier: `items` with title, year, genres (a list); `users` with age, gender, occupation."""

    events: Events
    items: pd.DataFrame | None
    users: pd.DataFrame | None


def read_movielens(path: Path, skip_bad_rows: bool = False) -> MovieLens:
    """Read a folder, archive or ratings file. Raises `DataError` when it holds no ratings or bad rows."""
    members = _members(path)
    ratings = next((name for name in RATINGS if name in members), None)
    if ratings is None and path.is_file() and not zipfile.is_zipfile(path):
        ratings, members = path.name, {path.name: lambda: read_bytes(path)}
    if ratings is None:
        raise DataError(f"{path} holds no MovieLens ratings; one of these is looked for: {', '.join(RATINGS)}")
    content = members[ratings]()
    separator = RATINGS.get(ratings) or ("::" if b"::" in content[:200] else "\t")
    events = read_ratings(content, f"{path.name}: {ratings}", separator, ratings.endswith(".inter"), skip_bad_rows)
    return MovieLens(events, _items(members), _users(members))


def _members(path: Path) -> Members:
    """The files of a folder or archive by their last name, or nothing for another file."""
    if path.is_dir():
        return {file.name: (lambda file=file: read_bytes(file)) for file in path.iterdir() if file.is_file()}  # type: ignore[misc]
    if not path.exists():
        raise DataError(f"{path} does not exist")
    if not zipfile.is_zipfile(path):
        return {}
    names = {Path(name).name: name for name in _listed(path) if not name.endswith("/")}
    return {short: (lambda name=name: _unpack(path, name)) for short, name in names.items()}  # type: ignore[misc]


def _listed(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except UNREADABLE as error:
        raise DataError(f"cannot read the archive {path}: {error}; fetch it again") from error


def _unpack(path: Path, name: str) -> bytes:
    try:
        with zipfile.ZipFile(path) as archive:
            refuse_bomb(archive.getinfo(name).file_size, path.stat().st_size, f"{name} in {path}")
            return archive.read(name)
    except UNREADABLE as error:
        raise DataError(f"cannot unpack {name} from {path}: {error}; fetch it again") from error


def read_ratings(content: bytes, source: str, separator: str, header: bool, skip_bad_rows: bool = False) -> Events:
    """`user SEP item SEP rating SEP timestamp` lines. Bad: fewer or more columns, identifiers or times that are no
    whole numbers from 0 on."""
    lines = lines_of(content, source)
    numbers = np.arange(1, len(lines) + 1)
    kept = pc.not_equal(lines, "").to_numpy(zero_copy_only=False)
    kept[:1] &= not header
    lines, numbers = lines.filter(pa.array(kept)), numbers[kept]
    cells = pc.split_pattern(lines, separator)
    report = ReadReport(rows=len(cells))
    wide = pc.list_value_length(cells).to_numpy(zero_copy_only=False) != 4
    report.refuse(numbers[wide], "four columns are needed: user, item, rating, timestamp")
    cells, numbers = cells.filter(pa.array(~wide)), numbers[~wide]
    users, items, times = (pc.list_element(cells, column) for column in (0, 1, 3))
    bad = np.zeros(len(cells), dtype=bool)
    for name, column in (("user", users), ("item", items)):
        _, _, negative = bad_identifiers(column)
        whole = pc.match_substring_regex(column, r"^[0-9]+$").to_numpy(zero_copy_only=False)
        for reason, found in ((f"the {name} is negative", negative), (f"the {name} is not a whole number", ~whole)):
            report.refuse(numbers[found & ~bad], reason)
            bad |= found
    good_time = pc.match_substring_regex(times, r"^[0-9]{1,18}(\.0*)?$").to_numpy(zero_copy_only=False)
    report.refuse(numbers[~good_time & ~bad], "the timestamp is not a number of seconds from 0 on")
    good = pa.array(good_time & ~bad)
    report.check(source, skip_bad_rows)
    seconds = pc.cast(times.filter(good), pa.float64())
    return make_events(users.filter(good), items.filter(good), seconds.to_numpy(), report)


def _frame(content: bytes, separator: str, names: list[str], encoding: str, header: bool) -> pd.DataFrame:
    """A side file with these columns, all text; the first is the index."""
    text = content.decode(encoding)
    rows = [line.rstrip("\r").split(separator) for line in text.split("\n") if line.strip()]
    short = next((row for row in rows if len(row) < len(names)), None)
    if short is not None:
        raise DataError(f"a MovieLens side file has a row with {len(short)} columns, not {len(names)}: {short[:3]}")
    frame = pd.DataFrame([row[: len(names)] for row in rows[1 if header else 0 :]], columns=names, dtype=object)
    return frame.set_index(names[0])


def _items(members: Members) -> pd.DataFrame | None:
    if "u.item" in members:
        names = ["item", "title", "date", "video", "url", *GENRES]
        frame = _frame(members["u.item"](), "|", names, "latin-1", header=False)
        flags = frame[GENRES].to_numpy() == "1"
        genres = [[genre for genre, flag in zip(GENRES, row, strict=True) if flag] for row in flags]
        return _titled(frame["title"], genres)
    if "movies.dat" in members:
        content = members["movies.dat"]()
        encoding = "utf-8" if _is_utf8(content) else "latin-1"
        frame = _frame(content, "::", ["item", "title", "genres"], encoding, header=False)
        return _titled(frame["title"], [text.split("|") for text in frame["genres"]])
    if "ml-100k.item" in members:
        frame = _frame(members["ml-100k.item"](), "\t", ["item", "title", "year", "genres"], "utf-8", header=True)
        titles = [
            f"{title} ({year})" if year.isdigit() else title
            for title, year in zip(frame["title"], frame["year"], strict=True)
        ]
        return _titled(pd.Series(titles, index=frame.index, dtype=object), [text.split() for text in frame["genres"]])
    return None


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _titled(titles: pd.Series, genres: list[list[str]]) -> pd.DataFrame:
    years = titles.str.extract(r"\((\d{4})\)\s*$", expand=False)
    return pd.DataFrame({"title": titles, "year": years, "genres": pd.Series(genres, index=titles.index, dtype=object)})


def _users(members: Members) -> pd.DataFrame | None:
    names = ["user", "age", "gender", "occupation", "zip"]
    if "u.user" in members:
        return _frame(members["u.user"](), "|", names, "latin-1", header=False)
    if "users.dat" in members:
        order = ["user", "gender", "age", "occupation", "zip"]
        return _frame(members["users.dat"](), "::", order, "latin-1", header=False)
    if "ml-100k.user" in members:
        return _frame(members["ml-100k.user"](), "\t", names, "utf-8", header=True)
    return None
