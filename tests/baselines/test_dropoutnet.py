"""DropoutNet, by hand: identity nets are the latents' dot product; a dropped latent leaves the content."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from baselines.cold import cases
from sparcode_es.baselines.dropoutnet import DropoutNet
from sparcode_es.config import Config, DropoutNetConfig, LossConfig
from sparcode_es.errors import ConfigError
from sparcode_es.models.batches import Batch
from sparcode_es.models.features import FeatureSpec
from sparcode_es.models.losses import NegativeSampler

TARGET, SONG = FeatureSpec("taste", "vector", 2, role="target"), FeatureSpec("song", "vector", 2)
AGE = FeatureSpec("age", "numerical", 1)
BATCH = Batch(torch.tensor([[0], [1]]), torch.tensor([0, 1]), torch.tensor([1, 2]), torch.tensor([0, 1]))
SAMPLER = NegativeSampler(LossConfig(negatives="all"), torch.ones(3))


def identity(dropout: float) -> DropoutNet:
    """Warm users (1, 0) and (0.6, 0.8), a cold one of age 2; nets without hidden layers that pass the latent through, and
    add (age, -age)."""
    config = dataclasses.replace(Config(), dropoutnet=DropoutNetConfig(hidden=(), rank=2, dropout=dropout))
    model = DropoutNet(config, 3, 3, [SONG], [AGE, TARGET])
    songs = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    model.load_features(
        {
            "item": {"song": songs},
            "user": {"age": np.array([0, 0, 2.0]), "taste": np.array([[1.0, 0], [0.6, 0.8], [0, 0]])},
        }
    )
    for net in (model.user_net, model.item_net):
        assert net.latent is not None
        net.latent.weight.data.copy_(torch.eye(2))
    model.user_net.content.layers[AGE.key].weight.data.copy_(torch.tensor([[1.0], [-1.0]]))  # type: ignore[union-attr]
    return model


def test_identity_nets_are_the_dot_product_of_the_latents() -> None:
    model = identity(dropout=0.0)
    scores = model.case_scores(cases([], [], []))(np.array([0, 1]))
    np.testing.assert_allclose(scores, [[1.0, 0.0, 0.6], [0.6, 0.8, 1.0]], rtol=1e-6)
    assert model.loss(BATCH, SAMPLER).item() == pytest.approx(0.0, abs=1e-12)


def test_a_user_without_a_latent_is_scored_by_content() -> None:
    scores = identity(dropout=0.5).case_scores(cases([], [], []))(np.array([2]))
    np.testing.assert_allclose(scores, [[2.0, -2.0, 2 * 0.6 - 2 * 0.8]], rtol=1e-6)


def test_all_latents_dropped_leave_the_square_of_the_target() -> None:
    """Both nets give 0 without latents here, so Eq. 2 is the mean square of (1, 0, .6) and (.6, .8, 1)."""
    loss = identity(dropout=1.0).loss(BATCH, SAMPLER)
    assert loss.item() == pytest.approx((1 + 0 + 0.36 + 0.36 + 0.64 + 1) / 6)


def test_about_the_share_of_the_configuration_is_dropped() -> None:
    torch.manual_seed(0)
    model = identity(dropout=0.3)
    kept = model._dropped(model.user_net, torch.ones(10_000, 2))
    assert set(kept.sum(1).tolist()) == {0.0, 2.0}
    assert kept.mean().item() == pytest.approx(0.7, abs=0.02)
    assert model._dropped(model.item_net, torch.ones(9, 2)).all(), "songs have no features beside their latent"


def test_cold_users_need_features() -> None:
    with pytest.raises(ConfigError, match="user features"):
        DropoutNet(Config(), 3, 2, [SONG], [TARGET])
    assert DropoutNet(Config(), 3, 2).latents.dim == Config().latents.dim
