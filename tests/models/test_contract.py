"""What every model with a tokenizer promises, whatever its parts."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from sparcode_es.baselines.two_tower import TwoTower
from sparcode_es.config import (
    Config,
    QuantizerConfig,
    ScorerConfig,
    TokenizerConfig,
    TrainingConfig,
    TwoTowerConfig,
)
from sparcode_es.models.encode import assign_codes, encode_tokens
from sparcode_es.models.features import FeatureSpec
from sparcode_es.models.few import latest_events
from sparcode_es.models.memory import BETA, GAMMA
from sparcode_es.models.sparcode import SparCode
from sparcode_es.models.tokenizers import Recency

ITEMS, DIM = 30, 8
TOKENIZERS = [
    TokenizerConfig(kind=kind, dim=DIM, max_length=6, tokens=tokens, token_heads=heads, item_tokens=2, hidden=(12,))  # type: ignore[arg-type]
    for kind, (tokens, heads) in itertools.product(
        ["self_attention", "gru", "dnn", "capsule"], [(1, "linear"), (4, "linear"), (10, "senet")]
    )
    if (kind, tokens) != ("capsule", 1)
]
TOKENIZERS.append(replace(TOKENIZERS[0], positions="absolute"))
TOKENIZERS += [
    replace(tokenizer, members=2) for tokenizer in TOKENIZERS if tokenizer.tokens > 1 and tokenizer.kind != "capsule"
]
QUANTIZERS = [
    QuantizerConfig(codes=16, codes_per_token=3),
    QuantizerConfig(codes=16, codes_per_token=3, shared=False, gradient="commitment"),
    QuantizerConfig(codes=16, assignment="nearest", gradient="straight_through"),
    QuantizerConfig(codes=5, codebooks=2, assignment="nearest", gradient="soft", shared=False),
    QuantizerConfig(codes=5, codebooks=2, assignment="nearest", gradient="commitment"),
]


def make(tokenizer: TokenizerConfig, quantizer: QuantizerConfig = QUANTIZERS[0], **scorer: object) -> SparCode:
    torch.manual_seed(0)
    scorer.setdefault("memory", quantizer.codebooks == 1)
    config = Config(
        tokenizer=tokenizer,
        quantizer=quantizer,
        scorer=ScorerConfig(hidden=(6,), **scorer),  # type: ignore[arg-type]
        training=TrainingConfig(freeze_tokenizer=False),
    )
    model = SparCode(config, ITEMS).eval()
    torch.nn.init.normal_(model.scorer.head.output.weight)
    model.untie_items()
    return model


def csr(*histories: list[int]) -> tuple[np.ndarray, np.ndarray]:
    offsets = np.cumsum([0, *map(len, histories)]).astype(np.uint64)
    return offsets, np.array([i for h in histories for i in h], dtype=np.uint32)


@pytest.mark.parametrize(
    "tokenizer", TOKENIZERS, ids=lambda t: f"{t.kind}-{t.tokens}-{t.token_heads}-{t.positions}-{t.members}"
)
class TestTokenizers:
    def test_tokens_have_their_shape_and_length_1(self, tokenizer: TokenizerConfig) -> None:
        tokens = encode_tokens(make(tokenizer), *csr([1, 2, 3], [4], [5, 6]))
        assert tokens.shape == (3, tokenizer.tokens, DIM)
        assert torch.allclose(tokens.norm(dim=-1), torch.ones(3, tokenizer.tokens), atol=1e-5)

    def test_padding_and_company_change_nothing(self, tokenizer: TokenizerConfig) -> None:
        model = make(tokenizer)
        alone = encode_tokens(model, *csr([7, 8]))
        together = encode_tokens(model, *csr([1, 2, 3, 4, 5], [7, 8], [9]))
        assert torch.allclose(alone[0], together[1], atol=1e-5)

    def test_the_future_is_not_read(self, tokenizer: TokenizerConfig) -> None:
        model = make(tokenizer)
        histories = torch.tensor([[1, 2, 3, 4], [1, 2, 9, 8]])
        tokens = model.tokens(histories, torch.tensor([1, 5]), torch.tensor([-1, -1]))
        assert torch.allclose(tokens[0], tokens[1], atol=1e-5)

    def test_only_the_latest_events_are_read(self, tokenizer: TokenizerConfig) -> None:
        model = make(tokenizer)
        long = encode_tokens(model, *csr([20, 21, 22, 1, 2, 3, 4, 5, 6]))
        assert torch.allclose(long, encode_tokens(model, *csr([1, 2, 3, 4, 5, 6])), atol=1e-5)

    def test_order_of_the_latest_item_matters(self, tokenizer: TokenizerConfig) -> None:
        tokens = encode_tokens(make(tokenizer), *csr([1, 2, 3], [3, 2, 1]))
        assert not torch.allclose(tokens[0], tokens[1], rtol=0, atol=1e-5)


def test_recency_is_a_number_for_each_distance_and_closes_the_future() -> None:
    recency = Recency(2, 5)
    recency.bias.data = torch.arange(10.0).view(2, 5)
    found = recency(4)
    for head, i, j in itertools.product(range(2), range(4), range(4)):
        assert found[head, i, j] == (5 * head + i - j if j <= i else -torch.inf)


@pytest.mark.parametrize("positions", ["relative", "absolute"])
def test_order_of_earlier_items_matters(positions: str) -> None:
    model = make(replace(TOKENIZERS[0], positions=positions))
    for block in model.tokenizer.encoder.blocks:
        if block.recency is not None:
            torch.nn.init.normal_(block.recency.bias)
    tokens = encode_tokens(model, *csr([1, 2, 3, 4], [2, 1, 3, 4]))
    assert not torch.allclose(tokens[0], tokens[1], rtol=0, atol=1e-5)


@pytest.mark.parametrize("quantizer", QUANTIZERS, ids=lambda q: f"{q.assignment}-{q.codebooks}-{q.gradient}-{q.shared}")
class TestScores:
    def test_candidate_scores_are_the_sum_over_codes(self, quantizer: QuantizerConfig) -> None:
        """Eq. 10 and 11 through the training path equal the sum over the table that becomes the postings."""
        model = make(TOKENIZERS[1], quantizer)
        model.bias_parameter.data.fill_(0.3)
        tokens = encode_tokens(model, *csr([1, 2, 3], [4], [5, 6]))
        assignment = model.quantizer.assign(tokens)
        trained = model.candidate_scores(tokens, assignment, torch.arange(ITEMS)).detach().numpy()
        codes, boosts = assign_codes(model, tokens)
        for user in range(3):
            table = model.score_codes(codes[user], slice(0, ITEMS))
            expected = (boosts[user][:, None] * np.maximum(table + model.bias, 0)).sum(0)
            np.testing.assert_allclose(trained[user], expected, rtol=1e-4, atol=1e-4)

    def test_blocks_of_items_fit_together(self, quantizer: QuantizerConfig) -> None:
        model = make(TOKENIZERS[1], quantizer)
        codes = model.all_codes()
        whole = model.score_codes(codes, slice(0, ITEMS))
        parts = [model.score_codes(codes, slice(a, b)) for a, b in ((0, 7), (7, 8), (8, ITEMS))]
        np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, rtol=1e-4, atol=1e-5)

    def test_all_codes_are_the_possible_ones(self, quantizer: QuantizerConfig) -> None:
        model = make(TOKENIZERS[1], quantizer)
        codes = model.all_codes()
        assert len(np.unique(codes, axis=0)) == len(codes) == model.num_possible_codes
        heads = 1 if quantizer.shared else TOKENIZERS[1].tokens
        assert codes.max(0).tolist() == [heads - 1] + [quantizer.codes - 1] * quantizer.codebooks

    def test_hashes_follow_the_weights(self, quantizer: QuantizerConfig) -> None:
        model = make(TOKENIZERS[0], quantizer)
        codebook, whole = model.codebook_hash, model.model_hash
        model.bias_parameter.data += 1
        assert model.codebook_hash == codebook
        assert model.model_hash != whole
        model.quantizer.codebooks += 1
        assert model.codebook_hash != codebook


def test_memory_is_the_lift_of_the_training_pairs() -> None:
    model = make(TOKENIZERS[0])
    assert model.memory is not None
    counts = sparse.coo_matrix(([1.0, 0.5, 0.25, 0.5], ([3, 3, 5, 6], [7, 7, 7, 7])), shape=(16, ITEMS))
    model.memory.fit(counts.tocsr(), np.bincount([7, 7], minlength=ITEMS))
    model.memory.weight.fill_(2.0)
    lifts = model.memory(np.array([3, 5, 6, 0]), 5, 9).numpy()
    expected = np.zeros((4, 4))
    of_code = np.array([1.5, 0.25, 0.5])
    expected[:3, 2] = np.log1p(BETA * of_code / np.sqrt((of_code + GAMMA) * (2 + GAMMA)))
    np.testing.assert_allclose(lifts, expected, rtol=1e-5)
    table = np.array([[0, 3]], dtype=np.uint32)
    with_memory = model.score_codes(table, slice(0, ITEMS))
    model.memory.weight.fill_(0.0)
    difference = with_memory - model.score_codes(table, slice(0, ITEMS))
    assert difference[0, 7] == pytest.approx(2 * expected[0, 2], rel=1e-4)
    assert np.count_nonzero(np.abs(difference) > 1e-4) == 1


def test_item_codes_are_weighted_lifts_and_none_without_a_weight() -> None:
    model = make(TOKENIZERS[0])
    assert model.item_memory is not None
    counts = sparse.csr_matrix(([3.0, 1.0], ([2, 2], [9, 4])), shape=(ITEMS, ITEMS))
    model.item_memory.fit(counts, np.full(ITEMS, 5))
    assert model.item_codes is None
    model.item_memory.weight.fill_(1.5)
    found = model.item_codes
    assert found is not None
    assert found.offsets.tolist() == [0, 0, 0] + [2] * (ITEMS - 2)
    assert found.items.tolist() == [4, 9]
    chance = np.sqrt((4 + GAMMA) * (5 + GAMMA))
    np.testing.assert_allclose(found.scores, 1.5 * np.log1p(BETA * np.array([1.0, 3.0]) / chance), rtol=1e-5)


@given(st.lists(st.lists(st.integers(0, 9), max_size=6), max_size=5), st.integers(1, 8), st.floats(0.1, 1))
def test_latest_events(histories: list[list[int]], latest: int, decay: float) -> None:
    numbers, boosts = latest_events(*csr(*histories), latest, decay)
    assert numbers.shape == boosts.shape == (len(histories), latest)
    for history, row, weights in zip(histories, numbers, boosts, strict=True):
        there = min(latest, len(history))
        assert row[:there].tolist() == history[::-1][:there]
        np.testing.assert_allclose(weights, [decay**k if k < there else 0 for k in range(latest)], rtol=1e-5)


@pytest.mark.parametrize("unit_items", [True, False])
def test_untied_items_begin_as_the_tied_ones_and_learn_apart(unit_items: bool) -> None:
    torch.manual_seed(0)
    tokenizer = replace(TOKENIZERS[0], unit_items=unit_items)
    model = TwoTower(Config("two_tower", tokenizer, two_tower=TwoTowerConfig(untied_items=True)), ITEMS).eval()
    everything = torch.arange(ITEMS)
    tied = model.tokenizer.targets(everything).detach() * model.log_scale.exp().detach()
    assert torch.equal(model.item_vectors(), tied)
    assert torch.allclose(tied.norm(dim=1), model.log_scale.exp().detach().expand(ITEMS)) == unit_items
    tokens = encode_tokens(model, *csr([1, 2, 3], [4]))
    next(model.member_scores(tokens, everything)).square().sum().backward()
    assert model.output_item_embedding is not None
    assert bool(model.output_item_embedding.weight.grad.any())
    assert not bool(model.tokenizer.item_embedding.weight.grad.any())
    with torch.no_grad():
        model.output_item_embedding.weight.mul_(-2)
    assert torch.equal(encode_tokens(model, *csr([1, 2, 3], [4])), tokens)
    assert torch.allclose(model.item_vectors(), tied * (-1 if unit_items else -2))


def test_untied_items_keep_their_features() -> None:
    torch.manual_seed(0)
    config = Config("two_tower", TOKENIZERS[0], two_tower=TwoTowerConfig(untied_items=True))
    model = TwoTower(config, ITEMS, item_features=[FeatureSpec("text", "vector", 2)]).eval()
    before = model.item_vectors()
    model.tokenizer.item_features.load_tables({"text": np.ones((ITEMS, 2), np.float32)})
    assert not torch.allclose(model.item_vectors(), before)


@pytest.mark.parametrize("name", ["type", "items", "forward", "a.b", "a%2Eb", "größe °"])
def test_features_may_have_any_name(name: str) -> None:
    users = [FeatureSpec(name, "numerical", 1), FeatureSpec("other", "list", 3, 2)]
    model = TwoTower(Config(tokenizer=TOKENIZERS[0]), ITEMS, 2, (), users).eval()
    model.load_features({"user": {name: np.ones(2, np.float32), "other": np.ones((2, 2), np.int32)}, "item": {}})
    again = TwoTower(Config(tokenizer=TOKENIZERS[0]), ITEMS, 2, (), users).eval()
    again.load_state_dict(model.state_dict())
    offsets, history = csr([1, 2])
    tokens = encode_tokens(model, offsets, history, np.array([0]))
    assert torch.equal(tokens, encode_tokens(again, offsets, history, np.array([0])))
    assert not torch.allclose(tokens, encode_tokens(model, offsets, history), atol=1e-4)


def test_features_change_tokens_and_unknown_users_have_none() -> None:
    torch.manual_seed(0)
    config = Config(tokenizer=TOKENIZERS[0], quantizer=QUANTIZERS[0])
    users = [FeatureSpec("age", "numerical", 1), FeatureSpec("job", "categorical", 4)]
    items = [FeatureSpec("tags", "list", 5, 3), FeatureSpec("text", "vector", 2)]
    model = TwoTower(config, ITEMS, 3, items, users).eval()
    tables = {"age": np.array([0.0, 1.0, -1.0], np.float32), "job": np.array([1, 2, 3], np.int32)}
    model.tokenizer.user_features.load_tables(tables)
    tags = np.random.default_rng(0).integers(0, 5, (ITEMS, 3)).astype(np.int32)
    model.tokenizer.item_features.load_tables({"tags": tags, "text": np.ones((ITEMS, 2), np.float32)})
    offsets, history = csr([1, 2], [1, 2], [1, 2])
    known = encode_tokens(model, offsets, history, np.array([0, 1, -1]))
    unknown = encode_tokens(model, offsets, history)
    assert not torch.allclose(known[0], known[1], atol=1e-4)
    assert torch.allclose(known[2], unknown[0], atol=1e-6)
    assert not torch.allclose(known[0], unknown[0], atol=1e-4)
