"""RecBole's SASRec, run by `speed_training.py` in an environment of its own: `--child TASK`, JSON.

settings: RecBole's configuration; steps: time this many steps after a few to warm up; epochs: train at most so many, and stop
after `patience` evaluations without a better validation NDCG@10. Prints one line of JSON.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from typing import Any

import recbole
import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.model.sequential_recommender import SASRec
from recbole.trainer import Trainer
from recbole.utils import init_seed

WARM_UP = 5


def time_steps(trainer: Any, model: Any, batches: Any, steps: int) -> dict[str, Any]:
    """Steps as `Trainer._train_epoch` makes them."""
    model.train()
    began, cpu, done, targets = 0.0, 0.0, -WARM_UP, 0
    while done < steps:
        for batch in batches:
            if done == 0:
                began, cpu, targets = time.perf_counter(), time.process_time(), 0
            trainer.optimizer.zero_grad()
            loss = model.calculate_loss(batch)
            loss.backward()
            trainer.optimizer.step()
            done, targets = done + 1, targets + len(batch)
            if done == steps:
                break
    took = {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - cpu}
    return {**took, "steps": steps, "targets": targets}


def to_best(trainer: Any, train: Any, valid: Any, epochs: int, patience: int) -> list[dict[str, float]]:
    """Every epoch: seconds since the beginning, evaluations included, and NDCG@10 on validation, all items ranked."""
    began, found, best = time.perf_counter(), [], 0
    for epoch in range(epochs):
        trainer._train_epoch(train, epoch)
        _score, result = trainer._valid_epoch(valid)
        found.append({"seconds": time.perf_counter() - began, "ndcg@10": float(result["ndcg@10"])})
        best = epoch if found[epoch]["ndcg@10"] > found[best]["ndcg@10"] else best
        if epoch - best >= patience:
            break
    return found


def main() -> None:
    """Make RecBole's data, model and trainer, and time them."""
    task = json.loads(sys.argv[2])
    torch.set_num_threads(task["threads"])
    # RecBole leaves a folder of logs where it runs, and reads sys.argv as flags of its own.
    os.chdir(task["settings"]["data_path"])
    sys.argv = sys.argv[:1]
    config = Config(model="SASRec", dataset=task["dataset"], config_dict=task["settings"])
    logging.disable(logging.CRITICAL)
    init_seed(config["seed"], config["reproducibility"])
    dataset = create_dataset(config)
    train, valid, _test = data_preparation(config, dataset)
    model = SASRec(config, train.dataset).to(config["device"])
    trainer = Trainer(config, model)
    result: dict[str, Any] = {
        "recbole": recbole.__version__, "torch": torch.__version__, "items": dataset.item_num - 1,
        "users": dataset.user_num - 1, "targets_an_epoch": len(train.dataset), "steps_an_epoch": len(train),
    }  # fmt: skip
    if task["steps"]:
        result |= time_steps(trainer, model, train, task["steps"])
    if task["epochs"]:
        result["epochs"] = to_best(trainer, train, valid, task["epochs"], task["patience"])
    print(json.dumps(result))


if __name__ == "__main__":
    main()
