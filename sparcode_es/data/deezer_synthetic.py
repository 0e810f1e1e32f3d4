"""Made-up data with the schema of Deezer's, in which features predict songs: for tests and for machines without the real files.

Songs lie around the tastes of a latent space and have a Zipf popularity. A user has one to three tastes and listens by
Σ_m w_m · softmax(log popularity + β <taste_m, song>), a mixture that no single dot product is. Day-0 songs from the same
mixture give the fields (means of embeddings, as in Briand et al., KDD '21, §3.2), the songs of the month after are
`d1d30_songs`. A cold user has fields, but no embedding of their own.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sparcode_es.data.deezer_files import PARTS, SONGS, USERS, Embeddings, feature_names
from sparcode_es.errors import DataError
from sparcode_es.files import atomic_folder

SHARES = (0.7, 0.2, 0.1)
"""Of the users, by part."""
ACTIONS = {
    "favorite": "songs albums artists playlists",
    "skipped": "songs artists albums",
    "banned": "songs artists albums",
}
ACTIONS |= {
    "streamed": "songs artists albums",
    "search": "songs albums artists playlists",
    "onboarding_like": "artists",
}
FIELDS = tuple(f"{action}_{thing}" for action, things in ACTIONS.items() for thing in things.split())
"""The 18 fields of actions; age and country come before them."""
OFTEN = {"streamed": 0.9, "onboarding_like": 0.6, "skipped": 0.4, "favorite": 0.3, "search": 0.3, "banned": 0.05}
"""How many users do an action on their first day."""
SIZES: dict[Embeddings, int] = {"svd": 128, "mf": 256}
SCALE = {"svd": 0.01, "mf": 0.5}
AGES, COUNTRIES, FOCUS = 6, 10, 6.0


@dataclass(frozen=True)
class SyntheticOptions:
    """How much is made up."""

    users: int = 2000
    songs: int = 1000
    seed: int = 0
    listened: int = 40
    """Songs of the month after, on average."""
    tastes: int = 24
    latent: int = 16
    """The dimension of the latent space."""

    def __post_init__(self) -> None:
        if self.users < 10 or self.songs < 10:
            raise DataError("synthetic data need at least 10 users and 10 songs")
        if self.listened < 2 or self.tastes < 3 or not 2 <= self.latent <= min(SIZES.values()):
            raise DataError("synthetic data need listened ≥ 2, tastes ≥ 3 and a latent dimension in 2…128")


@dataclass(frozen=True)
class _World:
    """The truth that the files show a part of: unit tastes [T, d], unit songs [M, d], log popularity [M]; each user's
    tastes [U, 3] and their weights [U, 3]; age group and country [U]."""

    tastes: np.ndarray
    songs: np.ndarray
    log_popularity: np.ndarray
    user_tastes: np.ndarray
    weights: np.ndarray
    age: np.ndarray
    country: np.ndarray

    @functools.cached_property
    def chances_of_tastes(self) -> np.ndarray:
        """How likely each song is the next for each taste alone, [T, M]."""
        affinity = self.log_popularity + FOCUS * self.tastes @ self.songs.T
        chances = np.exp(affinity - affinity.max(axis=1, keepdims=True))
        shares: np.ndarray = chances / chances.sum(axis=1, keepdims=True)
        return shares

    def chances(self, user: int) -> np.ndarray:
        """How likely each song is the next that the user listens to, [M]."""
        mixture: np.ndarray = self.weights[user] @ self.chances_of_tastes[self.user_tastes[user]]
        return mixture / mixture.sum()


def write_synthetic(folder: Path, options: SyntheticOptions | None = None) -> None:
    """Write the eight files of the data set, as Zenodo has them, into `folder`, which must be new or empty.

    Raises `DataError` when there is something in it, and `StorageError` when it cannot be written.
    """
    options = options or SyntheticOptions()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder} exists and is not empty; choose another folder")
    rng = np.random.default_rng(options.seed)
    world = _world(options, rng)
    first_day, month = zip(*(_listen(world, user, options, rng) for user in range(options.users)), strict=True)
    bounds = [round(options.users * share) for share in np.cumsum([0.0, *SHARES])]
    with atomic_folder(folder) as work:
        maps = {kind: _embedding_map(options.latent, size, rng) for kind, size in SIZES.items()}
        songs = {kind: SCALE[kind] * (world.songs @ turn) for kind, turn in maps.items()}
        _write_embeddings(work / SONGS, "song_index", {f"features_{kind}": table for kind, table in songs.items()})
        warm = range(bounds[1])
        mean = {
            f"{kind}_embeddings": np.stack([table[month[u]].mean(0) for u in warm]) for kind, table in songs.items()
        }
        _write_embeddings(work / USERS, "user_index", mean)
        counts = _counts(options.users, first_day, rng)
        for kind in SIZES:
            fields = _fields(world, songs[kind], first_day, counts, np.random.default_rng(options.seed + 1))
            for part, begin, end in zip(PARTS, bounds[:-1], bounds[1:], strict=True):
                rows = slice(begin, end)
                ages = 18 + 7 * world.age[rows]
                path = work / feature_names(part, kind)[0]
                _write_users(
                    path, begin, month[rows], fields, {name: c[rows] for name, c in counts.items()}, ages, rows
                )


def _unit(x: np.ndarray) -> np.ndarray:
    units: np.ndarray = x / np.linalg.norm(x, axis=-1, keepdims=True)
    return units


def _world(options: SyntheticOptions, rng: np.random.Generator) -> _World:
    tastes = _unit(rng.normal(size=(options.tastes, options.latent)))
    home = rng.integers(options.tastes, size=options.songs)
    songs = _unit(tastes[home] + 0.15 * rng.normal(size=(options.songs, options.latent)))
    log_popularity = -0.7 * np.log1p(rng.permutation(options.songs))
    age, country = rng.integers(AGES, size=options.users), rng.integers(COUNTRIES, size=options.users)
    liked = rng.dirichlet(np.full(options.tastes, 0.5), size=(AGES, COUNTRIES))
    drawn = [
        rng.choice(options.tastes, 3, replace=False, p=_smooth(liked[a, c])) for a, c in zip(age, country, strict=True)
    ]
    weights = rng.dirichlet([2.0, 1.0, 0.5], size=options.users)
    return _World(tastes, songs, log_popularity, np.stack(drawn), weights, age, country)


def _smooth(shares: np.ndarray) -> np.ndarray:
    """Shares with a floor, so that three different tastes can always be drawn."""
    mixed: np.ndarray = 0.7 * shares + 0.3 / len(shares)
    return mixed


def _listen(
    world: _World, user: int, options: SyntheticOptions, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A user's songs of the first day and of the month after, each at most once in its list."""
    chances = world.chances(user)
    most = min(len(chances) // 2, int((chances > 0).sum()))
    first, later = 1 + rng.poisson(4), 1 + rng.geometric(1 / options.listened)
    return (
        rng.choice(len(chances), min(first, most), replace=False, p=chances),
        rng.choice(len(chances), min(later, most), replace=False, p=chances),
    )


def _embedding_map(latent: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """Orthonormal rows [latent, size] times √size, so that an embedding's numbers have a mean square near 1."""
    turned: np.ndarray = np.linalg.qr(rng.normal(size=(size, latent)))[0].T * np.sqrt(size)
    return turned


def _counts(users: int, first_day: tuple[np.ndarray, ...], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Field → how often each user did the action, float64 [U], NaN for never."""
    heard = np.array([len(songs) for songs in first_day])
    did = {action: rng.random(users) < share for action, share in OFTEN.items()}
    found = {}
    for field in FIELDS:
        action = next(name for name in ACTIONS if field.startswith(name))
        often = did[action] & (rng.random(users) < 0.9)
        found[field] = np.where(often, np.maximum(1, rng.binomial(heard, 0.8)), np.nan)
    return found


def _fields(
    world: _World,
    songs: np.ndarray,
    first_day: tuple[np.ndarray, ...],
    counts: Mapping[str, np.ndarray],
    rng: np.random.Generator,
) -> dict[str, np.ndarray]:
    """Field → vectors [U, size]: for an action the mean embedding of some first-day songs, zeros for never."""
    known = np.stack([songs[heard].mean(0) for heard in first_day])
    found = {"age": _means(known, world.age), "country": _means(known, world.country)}
    for field, often in counts.items():
        rows = np.zeros_like(known)
        for user in np.flatnonzero(~np.isnan(often)):
            rows[user] = songs[rng.choice(first_day[user], int(often[user]))].mean(0)
        found[field] = -rows if field.startswith(("skipped", "banned")) else rows
    return found


def _means(vectors: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Each user's group's mean vector, [U, size]."""
    shared = np.empty_like(vectors)
    for group in np.unique(groups):
        shared[groups == group] = vectors[groups == group].mean(0)
    return shared


def _write_embeddings(path: Path, key: str, tables: Mapping[str, np.ndarray]) -> None:
    """A file of vectors kept as lists."""
    rows = len(next(iter(tables.values())))
    columns: dict[str, pa.Array] = {key: pa.array(np.arange(rows, dtype=np.int32))}
    for name, table in tables.items():
        offsets = pa.array(np.arange(0, table.size + 1, table.shape[1], dtype=np.int32))
        columns[name] = pa.ListArray.from_arrays(offsets, pa.array(table.ravel()))
    pq.write_table(pa.table(columns), path)


def _write_users(
    path: Path,
    first: int,
    month: tuple[np.ndarray, ...],
    fields: Mapping[str, np.ndarray],
    counts: Mapping[str, np.ndarray],
    ages: np.ndarray,
    rows: slice,
) -> None:
    """A file of users: index, songs, scalars (empty where missing), and a column for each number of each field."""
    users = len(month)
    columns: dict[str, pa.Array] = {
        "user_index": pa.array(np.arange(first, first + users, dtype=np.int32)),
        "d1d30_songs": pa.array([songs.tolist() for songs in month], pa.list_(pa.int32())),
        "age_value": pa.array(ages, pa.int32()),
    }
    for name, often in counts.items():
        columns[f"nb_{name}"] = pa.array(often, from_pandas=True).cast(pa.int64())
    for name, table in fields.items():
        for number in range(table.shape[1]):
            columns[f"{name}_embedding{number}"] = pa.array(table[rows, number])
    pq.write_table(pa.table(columns), path, row_group_size=1000)
