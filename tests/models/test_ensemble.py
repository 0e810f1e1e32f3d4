"""An ensemble of encoders is its members: side by side, their scores averaged, each with a loss of its own."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from sparcode_es.baselines.two_tower import TwoTower
from sparcode_es.config import Config, TokenizerConfig, load_config
from sparcode_es.errors import ConfigError
from sparcode_es.models.batches import Batch, Windows
from sparcode_es.models.losses import NegativeSampler

ITEMS, MEMBERS = 40, 3
KINDS = ["self_attention", "gru", "dnn"]


def _config(members: int, **options: object) -> Config:
    overrides = {
        "model": "two_tower",
        "tokenizer.dim": 8 * members,
        "tokenizer.members": members,
        "tokenizer.dropout": 0.0,
    }
    return load_config(overrides={**overrides, **{f"tokenizer.{key}": value for key, value in options.items()}})


def _tower(members: int, seed: int, **options: object) -> TwoTower:
    torch.manual_seed(seed)
    return TwoTower(_config(members, **options), ITEMS).eval()


def _batch() -> Batch:
    generator = np.random.default_rng(1)
    offsets = np.array([0, 4, 9, 12], dtype=np.uint64)
    items = generator.integers(0, ITEMS, 12).astype(np.uint32)
    return next(Windows(offsets, items, np.full(3, -1), 8).batches(3, generator))


def _join(towers: list[TwoTower], **options: object) -> TwoTower:
    """An ensemble of towers."""
    joined = _tower(len(towers), 0, **options)
    state = {key: torch.cat([t.state_dict()[key] for t in towers], -1) for key in ("tokenizer.item_embedding.weight",)}
    for number, tower in enumerate(towers):
        for part in ("encoder", "heads"):
            own = getattr(tower.tokenizer, part).state_dict()
            state |= {f"tokenizer.{part}.members.{number}.{key}": value for key, value in own.items()}
    state["log_scale"] = towers[0].log_scale.detach()
    assert state.keys() == joined.state_dict().keys()
    joined.load_state_dict(state)
    return joined


@pytest.mark.parametrize(("kind", "unit_items", "tokens"), [*itertools.product(KINDS, [True, False], [1, 3])])
def test_its_scores_are_the_mean_of_its_members(kind: str, unit_items: bool, tokens: int) -> None:
    heads = "senet" if kind == "gru" else "linear"
    options = {"kind": kind, "unit_items": unit_items, "tokens": tokens, "token_heads": heads, "hidden": (12,)}
    towers = [_tower(1, seed, **options) for seed in range(MEMBERS)]
    joined, batch, items = _join(towers, **options), _batch(), torch.arange(ITEMS)

    def scores(tower: TwoTower) -> torch.Tensor:
        users = tower.tokens(batch.histories, batch.positions, batch.users).mean(1)
        return users @ tower.item_vectors().T

    with torch.inference_mode():
        alone = torch.stack([scores(tower) for tower in towers])
        torch.testing.assert_close(scores(joined), alone.mean(0))
        tokens_of_all = joined.tokens(batch.histories, batch.positions, batch.users)
        torch.testing.assert_close(torch.stack(list(joined.member_scores(tokens_of_all, items))), alone)
        torch.testing.assert_close(tokens_of_all.norm(dim=-1), torch.ones(tokens_of_all.shape[:2]))


@pytest.mark.parametrize(("unit_items", "tokens"), [(True, 1), (False, 3)])
def test_its_members_gradients_are_those_of_each_alone(unit_items: bool, tokens: int) -> None:
    """But for the temperature, which they share."""
    options = {"unit_items": unit_items, "tokens": tokens}
    towers, batch = [_tower(1, seed, **options) for seed in range(MEMBERS)], _batch()
    joined = _join(towers, **options)

    def learn(tower: TwoTower) -> None:
        torch.manual_seed(5)
        tower.loss(batch, NegativeSampler(tower.config.loss, torch.ones(ITEMS))).backward()

    for tower in (*towers, joined):
        learn(tower)
    wanted = torch.cat([tower.tokenizer.item_embedding.weight.grad for tower in towers], -1)
    torch.testing.assert_close(joined.tokenizer.item_embedding.weight.grad, wanted)
    for tower, member in zip(towers, joined.tokenizer.encoder.members, strict=True):
        for alone, together in zip(tower.tokenizer.encoder.parameters(), member.parameters(), strict=True):
            torch.testing.assert_close(together.grad, alone.grad)
    torch.testing.assert_close(joined.log_scale.grad, torch.stack([tower.log_scale.grad for tower in towers]).sum())


def test_its_members_begin_apart() -> None:
    tokenizer = _tower(2, 0).tokenizer
    one, other = tokenizer.item_embedding.weight.chunk(2, -1)
    assert not torch.allclose(one, other)
    assert not torch.allclose(*(member.blocks[0].output.weight for member in tokenizer.encoder.members))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"members": 0}, "1…8"),
        ({"members": 3, "dim": 32}, "must be a multiple of tokenizer.members"),
        ({"members": 2, "dim": 6}, "times members"),
        ({"members": 8, "dim": 8, "kind": "gru"}, "at least twice as large"),
        ({"members": 2, "kind": "capsule", "tokens": 2}, "another kind than 'capsule'"),
        ({"members": 2, "source": "features"}, "source 'history'"),
    ],
)
def test_what_cannot_be_an_ensemble_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TokenizerConfig(**options)  # type: ignore[arg-type]
