"""The folder of a training that was resumed, as `train` leaves it, without its weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

LOG: list[dict[str, Any]] = [
    {"stage": "tower", "epoch": 1, "loss": 3.0, "seconds": 1.0},
    {"stage": "tower", "epoch": 2, "loss": 2.5, "ndcg@50": 0.1, "recall@50": 0.3, "seconds": 2.0},
    {"stage": "tower", "epoch": 3, "loss": 9.9, "seconds": 99.0},
    {"stage": "tower", "resumed_after_epoch": 2},
    {"stage": "tower", "epoch": 3, "loss": 2.0, "seconds": 1.5},
    {"stage": "tower", "epoch": 4, "loss": 1.5, "ndcg@50": 0.08, "recall@50": 0.31, "seconds": 2.0},
    {"stage": "codes", "codes": 4, "instead_of": 512},
    {"stage": "codes", "epoch": 1, "loss": 1.0, "codes_used": 1.0, "perplexity": 0.6, "ndcg@50": 0.11, "seconds": 3.0},
    {"stage": "item_codes", "weight 0.0": 0.11, "weight 12.0": 0.13, "weight 2.0": 0.15},
    {"stage": "memory", "weight 0.0": 0.15, "weight 0.5": 0.16},
    {"stage": "done", "codes_epochs": 1},
]


def write(folder: Path, records: list[dict[str, Any]], config: str = 'model = "sparcode"\n') -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.toml").write_text(config)
    (folder / "log.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return folder
