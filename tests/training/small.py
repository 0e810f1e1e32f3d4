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
    "latents.dim": 16,
    "dropoutnet.hidden": [32],
    "dropoutnet.rank": 16,
    "melu.dim": 16,
    "melu.hidden": [16],
    "melu.local_layers": 2,
    "deezernet.hidden": [32],
    "deezernet.segments": 20,
    "training.tower.epochs": 6,
    "training.tower.batch_size": 32,
    "training.tower.learning_rate": 0.005,
    "training.codes.epochs": 3,
    "training.codes.batch_size": 32,
    "all_to_all.stage.epochs": 3,
    "tdm.stage.epochs": 3,
    "training.device": "cpu",
}
