"""What every system promises: trained by one call, read back with the same scores, and better than chance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sparcode_es.config import load_config
from sparcode_es.data.dataset import Dataset
from sparcode_es.evaluation.ranking import rank_metrics
from sparcode_es.models.base import RankingModel
from sparcode_es.training.build import MODELS
from sparcode_es.training.checkpoint import read_checkpoint
from sparcode_es.training.loop import train
from training.small import SMALL

LONGER = {"training.tower.epochs": 20, "training.tower.learning_rate": 0.01, "training.tower.evaluate_every": 5}
SETTINGS: dict[str, dict[str, object]] = {
    "dropoutnet": LONGER,
    "melu": LONGER | {"melu.cold_share": 0.2, "melu.local_steps": 2},
}
"""What some systems need beside `SMALL`."""

UNORDERED = {"dropoutnet", "melu", "deezernet"}
"""These read a history as a set. Its own items get the highest scores, and the ring's next item ties with the one before
the first: they are asked for unseen items."""


@pytest.fixture(scope="module", params=sorted(MODELS))
def trained(request: pytest.FixtureRequest, chain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of one system."""
    config = load_config(overrides=SMALL | SETTINGS.get(request.param, {}) | {"model": request.param})
    return train(config, Dataset.open(chain), tmp_path_factory.mktemp(request.param), bars=False).model_path


@pytest.fixture
def model(trained: Path) -> RankingModel:
    return read_checkpoint(trained).model


def test_every_name_of_the_configuration_has_a_class() -> None:
    for name, kind in MODELS.items():
        assert load_config(overrides={"model": name}).model == name
        assert issubclass(kind, RankingModel)


def test_scores_are_all_items_of_the_asked_cases(model: RankingModel, chain: Path) -> None:
    dataset = Dataset.open(chain)
    cases = dataset.cases("test")
    scores = model.case_scores(cases)
    some = scores(np.array([3, 0]))
    assert some.shape == (2, dataset.num_items)
    assert not np.isnan(some).any()
    assert not np.isposinf(some).any()
    np.testing.assert_allclose(scores(np.array([0]))[0], some[1], rtol=1e-4, atol=1e-5)


def test_a_checkpoint_scores_the_same_each_time(trained: Path, model: RankingModel, chain: Path) -> None:
    cases = Dataset.open(chain).cases("test").take(np.arange(20))
    again = read_checkpoint(trained).model
    rows = np.arange(20)
    np.testing.assert_array_equal(model.case_scores(cases)(rows), again.case_scores(cases)(rows))


def test_it_learns(model: RankingModel, chain: Path) -> None:
    """Each user walks along a ring, so that the next item is certain; popularity is no better than chance."""
    dataset = Dataset.open(chain)
    cases = dataset.cases("test")
    view = "unseen" if model.config.model in UNORDERED else "all"
    found = rank_metrics(model.case_scores(cases), cases, dataset.num_items)[view]
    chance = 5 / dataset.num_items
    if model.config.model == "popularity":
        assert 0 < found["recall@5"] < 4 * chance
    else:
        assert found["recall@5"] > 4 * chance


def test_the_loss_has_a_gradient_for_every_weight_it_needs(model: RankingModel, chain: Path) -> None:
    if not any(p.requires_grad for p in model.parameters()):
        pytest.skip("nothing is learned by gradient")
    from sparcode_es.training.trainer import Trainer

    trainer = Trainer(model.config, Dataset.open(chain), chain.parent / f"loss-{model.config.model}", print, bars=False)
    batch = next(iter(trainer.windows.batches(8, np.random.default_rng(0))))
    model.train()
    loss = model.loss(batch, trainer.sampler)
    assert loss.ndim == 0
    assert torch.isfinite(loss)
    loss.backward()
    assert any(p.grad is not None and bool(p.grad.any()) for p in model.parameters())
