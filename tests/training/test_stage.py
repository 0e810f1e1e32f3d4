"""One stage, scripted: when it validates, when it stops, which weights it leaves, at which rates."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from sparcode_es.config import StageConfig, load_config
from sparcode_es.data.dataset import Dataset
from sparcode_es.training.stage import Log, Stage, StageState, run_stage, seed_epoch
from sparcode_es.training.trainer import Trainer, make_optimizer
from training.small import SMALL


def _run(folder: Path, metrics: list[float], config: StageConfig) -> tuple[StageState, list[float], float]:
    """The state, the rate of each epoch, and the weight that is left: the number of the epoch that it is of."""
    model, rates, left = nn.Linear(1, 1), [], iter(metrics)
    optimizer = torch.optim.SGD(model.parameters(), lr=9.0)

    def epoch(generator: np.random.Generator) -> Iterator[float]:
        rates.append(optimizer.param_groups[0]["lr"])
        model.weight.data.fill_(len(rates))
        yield 0.0

    stage = Stage("tower", config, model, optimizer, 1, epoch, lambda: {"m": next(left)}, "m")
    state = run_stage(stage, 0, folder / "state", Log(folder / "log", print), lambda steps, total, title: steps)
    return state, rates, float(model.weight.detach())


@pytest.mark.parametrize(
    ("metrics", "config", "epochs", "best"),
    [
        ([0.1, 0.3, 0.2, 0.3], {"epochs": 9, "evaluate_every": 1, "patience": 2}, 4, 2),
        ([0.1, 0.0, 0.2, 0.1, 0.3, 0.2, 0.1], {"epochs": 9, "evaluate_every": 1, "patience": 2}, 7, 5),
        ([0.1, 0.2, 0.3], {"epochs": 5, "evaluate_every": 2}, 5, 5),
    ],
    ids=["no gain, twice", "a gain in between", "the last epoch is judged"],
)
def test_it_stops_without_gain_and_leaves_the_best_weights(
    metrics: list[float], config: dict[str, int], epochs: int, best: int, tmp_path: Path
) -> None:
    state, rates, weight = _run(tmp_path, metrics, StageConfig(learning_rate=0.01, decay_from=0.0, **config))  # type: ignore[arg-type]
    assert (state.epoch, state.best_epoch, weight) == (epochs, best, best)
    assert rates == pytest.approx([0.01 * (1 - epoch / config["epochs"]) for epoch in range(epochs)])


def test_what_chooses_is_the_validation_split(chain: Path, tmp_path: Path) -> None:
    dataset = Dataset.open(chain)
    trainer = Trainer(load_config(overrides=SMALL), dataset, tmp_path, lambda line: None, False)
    valid, test = dataset.cases("valid"), dataset.cases("test")
    assert np.array_equal(trainer.validation.target_items, valid.target_items)
    assert not np.array_equal(valid.target_items, test.target_items)


def test_what_corrects_the_loss_are_the_shares_of_what_is_found(chain: Path, tmp_path: Path) -> None:
    dataset = Dataset.open(chain)
    trainer = Trainer(load_config(overrides=SMALL), dataset, tmp_path, lambda line: None, False)
    sequences = dataset.train_sequences(False)
    events = [int(item) for row in range(len(sequences)) for item in sequences[row][1:]]
    shares = [events.count(item) / len(events) for item in range(dataset.num_items)]
    assert min(shares) < 0.8 * max(shares)
    assert trainer.sampler.share.tolist() == pytest.approx(shares)


def test_every_epoch_and_every_stage_has_its_own_draws_and_a_resumed_one_the_same() -> None:
    def draws(seed: int, stage: str, epoch: int) -> tuple[float, float]:
        return float(seed_epoch(seed, stage, epoch).random()), float(torch.rand(1))

    first = draws(0, "tower", 1)
    assert draws(0, "tower", 1) == first
    for numpy, drawn in (draws(0, "tower", 2), draws(0, "codes", 1), draws(1, "tower", 1)):
        assert numpy != first[0]
        assert drawn != first[1]


def test_only_the_table_of_items_has_its_own_l2() -> None:
    model = nn.ModuleDict({"item_embedding": nn.Embedding(2, 2), "other": nn.Linear(2, 2)})
    optimizer = make_optimizer(model, StageConfig(weight_decay=0.1, embedding_l2=0.2))
    found = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    wanted = {id(p): 0.2 if name == "item_embedding.weight" else 0.1 for name, p in model.named_parameters()}
    assert found == wanted


def test_an_item_that_no_batch_draws_keeps_its_length() -> None:
    """As a term of the loss, an L2 factor of any size would take a learning rate of each number away a step."""
    model = nn.ModuleDict({"item_embedding": nn.Embedding(2, 4)})
    weight = model["item_embedding"].weight
    before = weight.detach().clone()
    optimizer = make_optimizer(model, StageConfig(learning_rate=0.01, embedding_l2=1e-6))
    for _ in range(100):
        optimizer.zero_grad()
        model["item_embedding"](torch.tensor([0])).sum().backward()
        optimizer.step()
    assert torch.allclose(weight[1], before[1], rtol=1e-4)
    assert not torch.allclose(weight[0], before[0], rtol=0.1)
