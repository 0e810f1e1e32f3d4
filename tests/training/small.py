"""Settings of a training that takes seconds."""

from __future__ import annotations

SMALL = {
    "tokenizer.dim": 16,
    "tokenizer.max_length": 10,
    "tokenizer.layers": 1,
    "tokenizer.dropout": 0.1,
    "quantizer.codes": 16,
    "quantizer.codes_per_token": 3,
    "quantizer.kmeans_iterations": 5,
    "scorer.hidden": [8],
    "training.tower.epochs": 6,
    "training.tower.batch_size": 32,
    "training.codes.epochs": 3,
    "training.codes.batch_size": 32,
    "all_to_all.stage.epochs": 3,
    "tdm.stage.epochs": 3,
    "training.device": "cpu",
}
