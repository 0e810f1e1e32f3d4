"""Tokenizers of user features: shapes, fields, unknown users, tables outside the checkpoint; batches of users."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparcode_es.config import Config, ItemCodesConfig, QuantizerConfig, TokenizerConfig, load_config
from sparcode_es.errors import ConfigError, MismatchError
from sparcode_es.models.batches import Pairs
from sparcode_es.models.encode import encode_tokens
from sparcode_es.models.feature_tokenizer import FieldsAttention, FieldsDNN
from sparcode_es.models.features import FeatureEncoder, FeatureSpec
from sparcode_es.models.losses import NegativeSampler
from sparcode_es.models.sparcode import SparCode

ITEMS, USERS, DIM = 30, 9, 8
SPECS = [
    FeatureSpec("taste", "vector", 5),
    FeatureSpec("age", "numerical", 1),
    FeatureSpec("plays", "numerical", 1),
    FeatureSpec("country", "categorical", 4),
    FeatureSpec("tags", "list", 6, 3),
]
CONFIGS = [
    TokenizerConfig("features", kind, max_length=6, dim=DIM, hidden=(12,), tokens=tokens, token_heads=heads)  # type: ignore[arg-type]
    for kind, (tokens, heads) in itertools.product(["dnn", "self_attention"], [(1, "linear"), (3, "senet")])
]


def tables() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "taste": 0.01 * rng.normal(size=(USERS, 5)).astype(np.float32),
        "age": rng.normal(size=USERS).astype(np.float32),
        "plays": rng.normal(size=USERS).astype(np.float32),
        "country": rng.integers(0, 4, USERS).astype(np.int32),
        "tags": rng.integers(0, 6, (USERS, 3)).astype(np.int32),
    }


def make(tokenizer: TokenizerConfig) -> SparCode:
    torch.manual_seed(0)
    config = Config(
        tokenizer=tokenizer,
        quantizer=QuantizerConfig(codes=16, codes_per_token=3),
        item_codes=ItemCodesConfig(latest=0),
    )
    model = SparCode(config, ITEMS, USERS, (), SPECS).eval()
    model.load_features({"user": tables(), "item": {}})
    return model


def no_history(users: int) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros(users + 1, dtype=np.uint64), np.zeros(0, dtype=np.uint32)


@pytest.mark.parametrize("tokenizer", CONFIGS, ids=lambda t: f"{t.kind}-{t.tokens}")
class TestFeatureTokenizers:
    def test_tokens_have_their_shape_and_length_1_and_need_no_history(self, tokenizer: TokenizerConfig) -> None:
        tokens = encode_tokens(make(tokenizer), *no_history(USERS), np.arange(USERS))
        assert tokens.shape == (USERS, tokenizer.tokens, DIM)
        assert torch.allclose(tokens.norm(dim=-1), torch.ones(USERS, tokenizer.tokens), atol=1e-5)
        assert len(torch.unique(tokens[:, 0], dim=0)) == USERS

    def test_company_changes_nothing(self, tokenizer: TokenizerConfig) -> None:
        model = make(tokenizer)
        together = encode_tokens(model, *no_history(USERS), np.arange(USERS))
        alone = encode_tokens(model, *no_history(1), np.array([4]))
        assert torch.allclose(alone[0], together[4], atol=1e-5)

    def test_every_feature_is_read(self, tokenizer: TokenizerConfig) -> None:
        model = make(tokenizer)
        before = encode_tokens(model, *no_history(USERS), np.arange(USERS))
        for spec in SPECS:
            changed = tables()
            changed[spec.name] = np.flip(changed[spec.name], axis=0)
            model.load_features({"user": changed, "item": {}})
            after = encode_tokens(model, *no_history(USERS), np.arange(USERS))
            assert not torch.allclose(before, after, atol=1e-4), spec.name

    def test_an_unknown_user_is_one_without_features(self, tokenizer: TokenizerConfig) -> None:
        model = make(tokenizer)
        unknown = encode_tokens(model, *no_history(2))
        model.load_features({"user": {name: 0 * table for name, table in tables().items()}, "item": {}})
        assert torch.allclose(unknown, encode_tokens(model, *no_history(2), np.arange(2)), atol=1e-6)

    def test_the_tables_stay_out_of_the_checkpoint_and_are_asked_for(self, tokenizer: TokenizerConfig) -> None:
        model = make(tokenizer)
        state = model.state_dict()
        assert not [name for name in state if "table_" in name]
        again = SparCode(model.config, ITEMS, USERS, (), SPECS).eval()
        again.load_state_dict(state)
        assert again.model_hash == model.model_hash
        with pytest.raises(MismatchError, match="holds no user features"):
            encode_tokens(again, *no_history(1), np.array([0]))
        for module in again.modules():
            if isinstance(module, (FieldsDNN, FieldsAttention)):
                module.load_tables(tables())
        users = np.arange(USERS)
        assert torch.equal(
            encode_tokens(again, *no_history(USERS), users), encode_tokens(model, *no_history(USERS), users)
        )

    def test_the_loss_of_a_batch_reaches_every_weight_of_the_user_side(self, tokenizer: TokenizerConfig) -> None:
        model = make(tokenizer).train()
        model.quantizer.warm_start(
            model.tokens(torch.zeros(USERS, 1), torch.arange(USERS), torch.arange(USERS)).detach()
        )
        pairs = Pairs(np.arange(0, 4 * USERS + 1, 4), np.arange(4 * USERS) % ITEMS, np.arange(USERS), 3)
        batch = next(pairs.batches(USERS, np.random.default_rng(0)))
        loss = model.loss(batch, NegativeSampler(model.config.loss, torch.ones(ITEMS)))
        loss.backward()
        without = [name for name, p in model.tokenizer.encoder.named_parameters() if p.grad is None or not p.grad.any()]
        assert without == []


def test_fields_and_raw_have_one_place_for_each_feature() -> None:
    dnn, attention = FieldsDNN(CONFIGS[0], SPECS), FieldsAttention(CONFIGS[2], SPECS)
    rows = torch.tensor([[0, 3, -1], [1, 2, 8]])
    for encoder in (dnn, attention):
        encoder.load_tables(tables())
    assert dnn.raw(rows).shape == (2, 3, 2 + 5 + DIM + DIM)
    assert attention.fields(rows).shape == (2, 3, 4, DIM)
    assert not dnn.raw(rows)[0, 2].any()


def test_vectors_of_any_size_come_in_with_a_mean_square_of_1_and_missing_ones_as_0() -> None:
    spec = FeatureSpec("taste", "vector", 5)
    encoder = FeatureEncoder("item", [spec], 4, DIM)
    table = 1e-3 * np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
    table[1] = 0
    encoder.load_tables({"taste": table})
    encoder.fit_scales()
    values = encoder.values(spec, torch.arange(4))
    assert float(values[[0, 2, 3]].square().mean()) == pytest.approx(1, rel=1e-4)
    assert not values[1].any()


def test_unknown_categories_and_padding_are_0() -> None:
    encoder = FeatureEncoder("item", [SPECS[3], SPECS[4]], 2, DIM)
    encoder.load_tables({"country": np.zeros(2, np.int32), "tags": np.array([[0, 0, 0], [2, 0, 0]], np.int32)})
    found = encoder(torch.tensor([0, 1]))
    assert not found[0].any()
    assert torch.allclose(found[1], encoder.layers["of tags"].weight[2])  # type: ignore[union-attr, index]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.integers(1, 5), st.integers(1, 4), st.integers(0, 99))
def test_pairs(lengths: list[int], most: int, batch_size: int, seed: int) -> None:
    """Stored order: every pair once. Shuffled: each user once, with `most` items or all of them, and none of another."""
    offsets = np.cumsum([0, *lengths])
    items, users = np.arange(offsets[-1]) * 3 % 101, np.arange(len(lengths)) * 2 + 1
    pairs = Pairs(offsets, items, users, most)
    own = {int(user): items[offsets[row] : offsets[row + 1]].tolist() for row, user in enumerate(users)}
    found: dict[int, list[int]] = {}
    for batch in pairs.batches(batch_size, None):
        assert batch.rows is not None
        for row, target in zip(batch.rows.tolist(), batch.targets.tolist(), strict=True):
            found.setdefault(int(batch.users[row]), []).append(target)
    assert found == own
    assert (pairs.num_positions, pairs.num_targets) == (len(lengths), sum(lengths))
    seen = []
    for batch in pairs.batches(batch_size, np.random.default_rng(seed)):
        assert batch.rows is not None
        for row, user in enumerate(batch.users.tolist()):
            drawn = batch.targets[batch.rows == row].tolist()
            assert len(drawn) == min(most, len(own[user]))
            assert len({*drawn}) == len(drawn)
            assert {*drawn} <= {*own[user]}
            seen.append(user)
    assert sorted(seen) == users.tolist()


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"tokenizer.kind": "gru"}, "dnn and self_attention"),
        ({"tokenizer.use_features": False}, "use_features"),
        ({"item_codes.latest": 3}, "item codes stand for a history"),
        ({"training.items_per_user": 0}, "items_per_user"),
    ],
)
def test_mistakes_are_named(overrides: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_config(overrides={"tokenizer.source": "features", "item_codes.latest": 0} | overrides)


def test_a_tokenizer_of_features_needs_some() -> None:
    config = Config(tokenizer=CONFIGS[0], item_codes=ItemCodesConfig(latest=0))
    with pytest.raises(ConfigError, match="declares none"):
        SparCode(config, ITEMS, USERS)


def test_a_tokenizer_of_histories_refuses_an_empty_one() -> None:
    with pytest.raises(ConfigError, match=r"tokenizer\.source = 'features'"):
        encode_tokens(SparCode(Config(), ITEMS), *no_history(1))
