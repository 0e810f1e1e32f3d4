"""Latents: a singular value decomposition solved by hand, the latent of a history, and those of a data folder."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from baselines.cold import cases, sequences
from sparcode_es.baselines.latents import Latents
from sparcode_es.baselines.nets import BatchNorm
from sparcode_es.config import LatentsConfig
from sparcode_es.errors import ConfigError, DataError
from sparcode_es.models.batches import Batch
from sparcode_es.models.features import FeatureSpec

TARGET = FeatureSpec("taste", "vector", 2, role="target")
SONG = FeatureSpec("song", "vector", 2)
BLOCKS = sequences([0, 1], [1, 0], [2, 3], [3, 2], [2, 3])
"""Two users who hold items 0 and 1, three who hold 2 and 3. R has the right singular vectors (0 0 1 1) / √2 (σ = √6) and
(1 1 0 0) / √2 (σ = 2); scaled to a mean square length of 1, an item's latent is a unit vector of its block."""


@pytest.mark.parametrize("dim", [2, 8])
def test_the_svd_of_two_blocks(dim: int) -> None:
    latents = Latents(LatentsConfig(dim=dim), 6, 4, [], [])
    latents.prepare(BLOCKS, seed=0)
    assert latents.items.shape == (4, dim)
    expected = np.kron(np.eye(2), np.ones((2, 2)))
    np.testing.assert_allclose((latents.items @ latents.items.T).numpy(), expected, atol=1e-5)
    assert not latents.items[:, 2:].any()
    np.testing.assert_allclose((latents.users[[0, 2]] @ latents.items.T).numpy(), expected[[0, 2]], atol=1e-5)
    assert not latents.users[5].any(), "a user without training events has no latent"


def test_a_single_item_has_no_latents() -> None:
    with pytest.raises(DataError, match="single item"):
        Latents(LatentsConfig(dim=2), 2, 1, [], []).prepare(sequences([0], [0]), seed=0)


def test_the_latent_of_a_history_is_the_direction_of_its_mean() -> None:
    latents = Latents(LatentsConfig(dim=2), 5, 4, [], [])
    latents.prepare(BLOCKS, seed=0)
    found = latents.of_cases(cases([0, 2], [], [3, 2, 2]))
    expected = [[0.5**0.5] * 4, [0.0] * 4, [0.0, 0.0, 1.0, 1.0]]
    np.testing.assert_allclose((found @ latents.items.T).numpy(), expected, atol=1e-5)


@settings(max_examples=50)
@given(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=6), min_size=1, max_size=4))
def test_the_latent_of_a_prefix_is_that_of_the_history(histories: list[list[int]]) -> None:
    latents = Latents(LatentsConfig(dim=2), 5, 4, [], [])
    latents.prepare(BLOCKS, seed=0)
    L = max(map(len, histories))
    padded = torch.tensor([history + [history[-1]] * (L - len(history)) for history in histories])
    ends = torch.tensor([row * L + len(history) - 1 for row, history in enumerate(histories)])
    batch = Batch(padded, ends, torch.zeros(len(histories), dtype=torch.int64), torch.arange(len(histories)))
    torch.testing.assert_close(
        latents.of_prefixes(batch), latents.of_cases(cases(*histories)).float(), atol=1e-4, rtol=1e-4
    )


def test_the_features_hold_the_latents() -> None:
    latents = Latents(LatentsConfig(), 3, 2, [TARGET], [FeatureSpec("other", "vector", 3), SONG])
    assert (latents.user_feature, latents.item_feature, latents.dim) == ("taste", "song", 2)
    latents.load_tables(
        {
            "user": {"taste": np.array([[3.0, 4.0], [0.0, 0.0], [0.0, 0.0]])},
            "item": {"song": np.array([[1.0, 0], [0, 7]])},
        }
    )
    latents.prepare(sequences([0, 1]), seed=0)
    torch.testing.assert_close(latents.items, torch.tensor([[0.2, 0.0], [0.0, 1.4]]))
    # User 0 has a latent, user 1 only a history, user 2 neither.
    found = latents.of_cases(cases([1], [1], []))
    torch.testing.assert_close(found, torch.tensor([[0.6, 0.8], [0.0, 1.0], [0.0, 0.0]]))


def test_latents_of_features_that_are_missing_are_an_error() -> None:
    with pytest.raises(ConfigError, match="role target"):
        Latents(LatentsConfig("features"), 3, 2, [FeatureSpec("taste", "vector", 2)], [SONG])
    assert not Latents(LatentsConfig("auto", dim=5), 3, 2, [TARGET], [FeatureSpec("song", "vector", 3)]).from_features
    assert not Latents(LatentsConfig("svd"), 3, 2, [TARGET], [SONG]).from_features


def test_batch_normalisation_takes_a_batch_of_one() -> None:
    norm = BatchNorm(3)
    norm.running_mean.fill_(1.0)  # type: ignore[union-attr]
    torch.testing.assert_close(norm(torch.full((1, 3), 2.0)), torch.ones(1, 3), atol=1e-4, rtol=0)
    assert norm(torch.randn(4, 3)).mean().abs() < 1e-5


def test_how_often_a_user_met_an_item_does_not_count() -> None:
    one, many = (Latents(LatentsConfig(dim=2), 3, 4, [], []) for _ in range(2))
    one.prepare(sequences([0, 1], [1, 2], [2, 3]), seed=0)
    many.prepare(sequences([0, 1, 1, 1, 1], [1, 2], [2, 3, 3]), seed=0)
    torch.testing.assert_close(one.items @ one.items.T, many.items @ many.items.T, atol=1e-4, rtol=0)
