"""Cases that read files and folders: logs, side tables, data folders, artifacts, a training's folder."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from mutation.mutate import fresh, json_bytes, mutate_bytes, mutate_folder, mutate_text
from sparcode_es.data.dataset import Dataset, ListFeature
from sparcode_es.data.importer import Format, ImportOptions, SideTables, import_file
from sparcode_es.data.manifest import KCore
from sparcode_es.data.side import DeclaredFeature, read_schema
from sparcode_es.data.splits import SplitOptions
from sparcode_es.data.tabular import Columns
from sparcode_es.data.write import Preparation
from sparcode_es.engines.embedded import EmbeddedEngine
from sparcode_es.engines.embedded_inspector import EmbeddedInspector
from sparcode_es.postings.artifact import Artifact
from sparcode_es.report.training import quality_of, read_training
from sparcode_es.serving.arrange import MaxPer, Mmr
from sparcode_es.serving.recommender import Recommender


def _import(rng: random.Random, path: Path, work: Path, kind: Format, sides: SideTables | None = None) -> None:
    columns = Columns(
        unit=rng.choice(("auto", "s", "ns")),
        separator=rng.choice((None, None, None, ",", "\t", "", "é", "||", "\n", '"')) if kind == "csv" else None,
        negative_ids=rng.random() < 0.3,
    )
    split = SplitOptions(rng.choice(("leave-one-out", "users")), 0)
    preparation = Preparation(split, KCore(min_user=rng.choice((1, 1, 2))), drop_duplicates=rng.random() < 0.3)
    shown = rng.choice((kind, "auto")) if path.is_file() else kind
    options = ImportOptions(
        shown, columns, rng.choice(("auto", "pairs", "lines")), sides or SideTables(), rng.random() < 0.7
    )
    import_file(path, work / "imported", "case", preparation, options).describe()


def _damaged(rng: random.Random, seeds: Path, work: Path, name: str, text: bool) -> Path:
    source = seeds / "files" / name
    path = work / f"case{source.suffix}"
    path.write_bytes((mutate_text if text else mutate_bytes)(rng, source.read_bytes()))
    return path


def tables(rng: random.Random, seeds: Path, work: Path) -> None:
    """CSV and TSV logs."""
    _import(rng, _damaged(rng, seeds, work, rng.choice(("log.csv", "log.tsv")), True), work, "csv")


def parquet(rng: random.Random, seeds: Path, work: Path) -> None:
    """Parquet logs, also with lists and with lists as text."""
    name = rng.choice(("log.parquet", "lists.parquet", "texts.parquet"))
    _import(rng, _damaged(rng, seeds, work, name, False), work, "parquet")


def sequences(rng: random.Random, seeds: Path, work: Path) -> None:
    """Sequences and pairs."""
    _import(rng, _damaged(rng, seeds, work, rng.choice(("sequences.txt", "pairs.txt")), True), work, "sequences")


def movielens(rng: random.Random, seeds: Path, work: Path) -> None:
    """MovieLens as a folder, an archive and a single file."""
    kind = rng.randrange(3)
    if kind == 0:
        path = _damaged(rng, seeds, work, "movielens.zip", False)
    elif kind == 1:
        path = _damaged(rng, seeds, work, "movielens/u.data", True)
    else:
        path = fresh(seeds / "files" / "movielens", work / "movielens")
        file = rng.choice(sorted(path.iterdir()))
        file.write_bytes(mutate_text(rng, file.read_bytes()))
    _import(rng, path, work, "movielens")


def sides(rng: random.Random, seeds: Path, work: Path) -> None:
    """Tables of items and users (CSV, Parquet, JSON) with features of all kinds, and the schema that declares them."""
    name = rng.choice(("items.csv", "items.json", "items.parquet", "users.csv", "schema.toml"))
    path = _damaged(rng, seeds, work, name, not name.endswith("parquet"))
    if name == "items.json" and rng.random() < 0.7:
        import json

        path.write_bytes(json_bytes(rng, json.loads((seeds / "files" / name).read_bytes())))
    files = seeds / "files"
    specs: list[DeclaredFeature] = read_schema(path if name == "schema.toml" else files / "schema.toml")
    items = path if name.startswith("items") else files / "items.csv"
    users = path if name.startswith("users") else files / "users.csv"
    chosen = tuple(rng.sample(specs, rng.randint(0, len(specs))))
    _import(rng, files / "log.csv", work, "csv", SideTables(items=items, users=users, features=chosen))


def deezer(rng: random.Random, seeds: Path, work: Path) -> None:
    """Deezer's folder of Parquet files: vectors as lists and spread over columns."""
    folder = fresh(seeds / "deezer", work / "deezer")
    mutate_folder(rng, folder)
    options = ImportOptions("deezer", embeddings=rng.choice(("svd", "mf")))
    import_file(folder, work / "imported", "case", Preparation(), options).describe()


def data_folder(rng: random.Random, seeds: Path, work: Path) -> None:
    """A data folder, and everything that can be asked of it."""
    folder = fresh(seeds / "data", work / "data")
    mutate_folder(rng, folder)
    found = Dataset.open(folder, verify=rng.random() < 0.3)
    found.describe()
    for feature in found.schema:
        values = found.feature(feature.side, feature.name)
        if isinstance(values, ListFeature) or feature.kind == "categorical":
            found.vocabulary(feature.side, feature.name)
    for item in range(min(3, found.num_items)):
        found.item_title(item)
    found.cases("test")
    found.train_sequences()


def artifact(rng: random.Random, seeds: Path, work: Path) -> None:
    """A postings artifact: opened with and without checksums, then asked, explained and inspected."""
    folder = fresh(seeds / "postings", work / "postings")
    mutate_folder(rng, folder)
    opened = Artifact.open(folder, verify=rng.random() < 0.5)
    engine = EmbeddedEngine(opened)
    with Recommender.for_engine(engine, fallback=rng.random() < 0.5) as recommender:
        recommender.warm()
        options: Any = rng.choice(({}, {"diversify": MaxPer("kind", 2)}, {"diversify": Mmr()}, {"filter": {"kind": ["a"]}},
                                   {"boost": {"kind": {"a": 2.0}}}, {"exclude_seen": True, "explain": True}))  # fmt: skip
        for user in (str(rng.randrange(20)), "nobody"):
            recommender.recommend(user, k=5, **options)
    inspector = EmbeddedInspector(engine)
    inspector.dead(3)
    inspector.busiest(3)
    inspector.item_postings("1")


def training(rng: random.Random, seeds: Path, work: Path) -> None:
    """A training's folder, as `report` reads it."""
    folder = fresh(seeds / "run", work / "run")
    mutate_folder(rng, folder)
    quality_of(read_training(folder))
