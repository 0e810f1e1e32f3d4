"""DeezerNet, by hand: two segments of six users and what is popular in them, the full form, the regression."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from baselines.cold import cases, sequences
from sparcode_es.baselines.deezernet import DeezerNet
from sparcode_es.baselines.segments import Segments
from sparcode_es.config import Config, DeezerNetConfig, LossConfig
from sparcode_es.errors import ConfigError
from sparcode_es.models.batches import Batch
from sparcode_es.models.features import FeatureSpec
from sparcode_es.models.losses import NegativeSampler

TARGET, SONG = FeatureSpec("taste", "vector", 2, role="target"), FeatureSpec("song", "vector", 2)
FIRST_DAY = FeatureSpec("first_day", "vector", 2)
WARM = np.array([[1.0, 0.0], [0.8, 0.6], [0.8, -0.6], [0.0, 1.0], [-0.6, 0.8], [-0.8, 0.6]])
EVENTS = sequences([0, 1], [0, 2], [0, 1], [3, 2], [3], [3, 1])
"""Users 0-2 listen to 0 (3 times), 1 (2), 2 (1); users 3-5 to 3 (3 times), 1 and 2 (1 each)."""
CENTRES = [WARM[:3].mean(0), WARM[3:].mean(0)]
INF = -np.inf


def six_users(form: str = "full", **settings: object) -> DeezerNet:
    """Six warm users, and two cold ones (rows 6 and 7); a net that passes the first day's vector through."""
    settings = {"form": form, "hidden": (), "segments": 2, "segment_items": 3, "kmeans_iterations": 10, **settings}
    model = DeezerNet(
        dataclasses.replace(Config(), deezernet=DeezerNetConfig(**settings)), 4, 8, [SONG], [FIRST_DAY, TARGET]
    )  # type: ignore[arg-type]
    first_day = np.concatenate([WARM, [[5.0, 0.5], [-0.1, 0.3]]])
    songs = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0], [-1.0, 0.0]])
    model.load_features(
        {"item": {"song": songs}, "user": {"first_day": first_day, "taste": np.concatenate([WARM, np.zeros((2, 2))])}}
    )
    torch.manual_seed(0)
    model.prepare(EVENTS)
    model.net.content.layers[FIRST_DAY.key].weight.data.copy_(torch.eye(2))  # type: ignore[union-attr]
    return model


def test_segments_and_their_popular_songs() -> None:
    segments = six_users().segments
    first = int(segments.nearest(torch.tensor([[1.0, 0.0]])))
    assert sorted(segments.sizes.tolist()) == [3, 3]
    np.testing.assert_allclose(segments.centres[[first, 1 - first]].numpy(), CENTRES, atol=1e-5)
    scores = segments.scores(torch.tensor([first, 1 - first]))
    np.testing.assert_allclose(scores, [[3 / 6, 2 / 6, 1 / 6, INF], [INF, 1 / 5, 1 / 5, 3 / 5]], rtol=1e-6)


def test_a_new_user_gets_the_nearest_segments_songs() -> None:
    scores = six_users("semi").case_scores(cases([], [], users=[7, 6]))(np.array([0, 1]))
    np.testing.assert_allclose(scores, [[INF, 1 / 5, 1 / 5, 3 / 5], [3 / 6, 2 / 6, 1 / 6, INF]], rtol=1e-6)


def test_one_training_gives_both_forms() -> None:
    model = six_users("full")
    asked = cases([], [], users=[7, 6])
    length = (0.1**2 + 0.3**2) ** 0.5
    full = model.case_scores(asked)(np.array([0]))
    np.testing.assert_allclose(full[0] * length, [-0.1, 0.18, 0.3, 0.1], atol=1e-6)
    rows = np.array([1, 0])
    np.testing.assert_array_equal(model.case_scores(asked, "semi")(rows), six_users("semi").case_scores(asked)(rows))


def test_the_loss_is_the_squared_error_of_the_warm_users() -> None:
    """User 0 is predicted exactly; user 6 has no latent and does not count; user 1 is turned to (0.6, 0.8)."""
    model = six_users()
    table: torch.Tensor = getattr(model.net.content, f"table_{FIRST_DAY.key}")  # type: ignore[assignment]
    table[1] = torch.tensor([3.0, 4.0])
    rows = torch.tensor([0, 6, 1])
    batch = Batch(torch.zeros(3, 1, dtype=torch.int64), torch.arange(3), torch.zeros(3, dtype=torch.int64), rows)
    loss = model.loss(batch, NegativeSampler(LossConfig(), torch.ones(4)))
    assert loss.item() == pytest.approx((0.2**2 + 0.2**2) / 4)


def test_few_users_leave_segments_empty() -> None:
    segments = Segments(5, 2, 2, 3)
    segments.fit(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), sequences([0, 0, 1, 2, 2, 2], [1]), 5)
    found = segments.nearest(torch.tensor([[2.0, 0.1], [0.1, 2.0]]))
    # Item 1 of the first user is not among the two most popular ones.
    np.testing.assert_allclose(segments.scores(found), [[2 / 6, INF, 3 / 6], [INF, 1.0, INF]], rtol=1e-6)
    assert segments.sizes.tolist() == [1, 1, 0, 0, 0]


@pytest.mark.parametrize("item", [-1, 3])
def test_saved_segments_name_items_that_there_are(item: int) -> None:
    segments = Segments(5, 2, 2, 3)
    with pytest.raises(ValueError, match="of 3"):
        Segments(5, 2, 2, 3).load_state_dict(segments.state_dict() | {"items": torch.full((5, 2), item)})


def test_the_history_is_an_input_where_latents_are_the_svds() -> None:
    assert not six_users().reads_history
    assert DeezerNet(Config(), 4, 8).reads_history
    with pytest.raises(ConfigError, match="user features"):
        six_users_without_features(history=False)
    with pytest.raises(ConfigError, match="user features"):
        DeezerNet(Config(), 4, 8, [SONG], [TARGET])


def six_users_without_features(history: bool) -> DeezerNet:
    return DeezerNet(dataclasses.replace(Config(), deezernet=DeezerNetConfig(history=history)), 4, 8)


def test_nobody_to_learn_from_is_an_error() -> None:
    model = DeezerNet(Config(), 4, 8, [SONG], [FIRST_DAY, TARGET])
    with pytest.raises(ConfigError, match="latent"):
        model.prepare(EVENTS)
