"""Good files of every kind, small: what the mutations begin with."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from sparcode_es.config import load_config
from sparcode_es.data.deezer_synthetic import SyntheticOptions, write_synthetic
from sparcode_es.data.importer import ImportOptions, SideTables, import_file
from sparcode_es.data.side import DeclaredFeature
from sparcode_es.data.write import Preparation
from sparcode_es.models.sparcode import SparCode
from sparcode_es.serving.encoder import HistoryEncoder
from sparcode_es.serving.export import export_encoder
from sparcode_es.serving.pipeline import build_from_data
from sparcode_es.training.build import build_model
from sparcode_es.training.checkpoint import save_checkpoint
from sparcode_es.training.memory import fit_memories
from sparcode_es.training.trainer import Trainer

SMALL = {
    "tokenizer.dim": 8, "tokenizer.layers": 1, "tokenizer.max_length": 6, "quantizer.codes": 8, "quantizer.codes_per_token": 2,
    "scorer.hidden": [4], "training.device": "cpu", "training.tower.epochs": 1, "training.codes.epochs": 1,
    "item_codes.weight": 1.0, "item_codes.ridge_share": 0.25, "item_codes.repeat_weight": 0.5, "item_codes.repeat_power": 0.5,
    "scorer.memory_weight": 1.0,
}  # fmt: skip
SPECS = (
    DeclaredFeature("user", "age", "numerical"),
    DeclaredFeature("item", "kind", "categorical"),
    DeclaredFeature("item", "place", "vector"),
    DeclaredFeature("item", "genres", "list"),
)
LOG = '{"stage": "tower", "epoch": 1, "loss": 3.0, "seconds": 1.0, "ndcg@50": 0.1}\n{"stage": "item_codes", "weight 0.0": 0.1}\n'


def make_seeds(folder: Path) -> Path:
    """Write them all, without a training: the model's weights are random, its memories the data's."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    events = pd.DataFrame(
        {"user": np.repeat(np.arange(20), 8), "item": rng.integers(30, size=160), "timestamp": np.arange(160)}
    )
    files = folder / "files"
    files.mkdir(parents=True)
    events.to_csv(files / "log.csv", index=False)
    events.to_csv(files / "log.tsv", index=False, sep="\t")
    events.to_parquet(files / "log.parquet")
    lists = events.groupby("user").item.apply(list).reset_index()
    lists.to_parquet(files / "lists.parquet")
    pd.DataFrame({"user": lists.user, "item": lists.item.map(str)}).to_parquet(files / "texts.parquet")
    sequences = "".join(f"{row.user} {' '.join(map(str, row.item))}\n" for row in lists.itertuples())
    (files / "sequences.txt").write_text(sequences)
    (files / "pairs.txt").write_text("".join(f"{row.user} {row.item}\n" for row in events.itertuples()))
    _movielens(events, files)
    _sides(files, rng)
    write_synthetic(folder / "deezer", SyntheticOptions(users=60, songs=40, listened=6, tastes=4, latent=4))
    _trained(folder, files)
    return folder


def _movielens(events: pd.DataFrame, files: Path) -> None:
    files = files / "movielens"
    files.mkdir()
    rows = "".join(f"{e.user}\t{e.item}\t5\t{880000000 + e.timestamp}\n" for e in events.itertuples())
    (files / "u.data").write_text(rows)
    (files / "u.item").write_text(
        "".join(f"{i}|Film {i} (19{60 + i})|x||u|{'|'.join('01' * 9 + '0')}\n" for i in range(30))
    )
    (files / "u.user").write_text("".join(f"{u}|{20 + u}|M|writer|12345\n" for u in range(20)))
    with zipfile.ZipFile(files.parent / "movielens.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(files.iterdir()):
            archive.write(file, f"ml/{file.name}")


def _sides(files: Path, rng: np.random.Generator) -> None:
    places = [str(rng.normal(size=3).round(2).tolist()) for _ in range(30)]
    items = pd.DataFrame({"item": range(30), "title": [f"Title {i}" for i in range(30)], "kind": ["a", "b", "c"] * 10,
                          "genres": ["x|y", "y", "z"] * 10, "place": places})  # fmt: skip
    items.to_csv(files / "items.csv", index=False)
    items.to_parquet(files / "items.parquet")
    items.set_index("item").to_json(files / "items.json", orient="index")
    pd.DataFrame({"user": range(20), "age": range(20, 40)}).to_csv(files / "users.csv", index=False)
    text = "".join(f'[[feature]]\nside = "{s.side}"\nname = "{s.name}"\nkind = "{s.kind}"\n' for s in SPECS)
    (files / "schema.toml").write_text(text)


def _trained(folder: Path, files: Path) -> None:
    sides = SideTables(items=files / "items.csv", users=files / "users.csv", features=SPECS)
    data = import_file(files / "log.csv", folder / "data", "seed", Preparation(), ImportOptions("csv", sides=sides))
    config = load_config(overrides=SMALL)
    model = build_model(config, data)
    assert isinstance(model, SparCode)
    model.eval()
    fit_memories(Trainer(config, data, folder / "run", lambda line: None, bars=False), model)
    save_checkpoint(folder / "model.pt", model, data.item_ids, "data", {"epochs": 1}, data.events_hash)
    encoder = HistoryEncoder.from_checkpoint(folder / "model.pt")
    build_from_data(encoder, data, folder / "postings")
    export_encoder(encoder.model, encoder.item_ids, folder / "encoder.onnx")
    (folder / "run" / "log.jsonl").write_text(LOG)
