"""What the self-attention tokenizer's tokens are before training, and what they do not depend on."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from sparcode_es.config import TokenizerConfig
from sparcode_es.models.tokenizers import DNNEncoder, LinearHeads, Tokenizer

ITEMS = 40


def _tokenizer(seed: int, **options: object) -> Tokenizer:
    torch.manual_seed(seed)
    return Tokenizer(TokenizerConfig(dim=32, max_length=8, **options), ITEMS).eval()  # type: ignore[arg-type]


def _histories(seed: int) -> torch.Tensor:
    return torch.randint(ITEMS, (3, 8), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("tokens", [1, 3])
def test_the_first_token_is_the_state(tokens: int) -> None:
    tokenizer, histories, positions = _tokenizer(0, tokens=tokens), _histories(1), torch.tensor([2, 7, 8, 23])
    found = tokenizer(histories, positions, torch.full((3,), -1))
    states = tokenizer.states(histories).flatten(0, 1)[positions]
    torch.testing.assert_close(found[:, 0], F.normalize(states, dim=-1))
    assert found.shape == (4, tokens, 32)


def test_heads_have_a_layer_for_each_token_after_the_first() -> None:
    heads, states = LinearHeads(6, 3), torch.randn(5, 6)
    assert heads.linear is not None
    assert LinearHeads(6, 1).linear is None
    torch.testing.assert_close(heads(states)[:, 1:].flatten(1), heads.linear(states))


def test_further_tokens_begin_near_the_first_and_apart() -> None:
    torch.manual_seed(0)
    states = torch.randn(40, 64)
    first, second, third = LinearHeads(64, 3)(states).detach().unbind(1)
    for one, other in ((first, second), (first, third), (second, third)):
        nearness = torch.cosine_similarity(one, other).mean()
        assert 0.95 < float(nearness) < 0.9999


@given(seed=st.integers(0, 1000), scale=st.floats(0.5, 50))
def test_tokens_do_not_depend_on_how_long_embeddings_are(seed: int, scale: float) -> None:
    tokenizer, histories, positions = _tokenizer(seed), _histories(seed), torch.arange(24)
    with torch.inference_mode():
        tokenizer.item_embedding.weight.mul_(10)  # LayerNorm's ε is not nothing beside embeddings that begin at .02
        short = tokenizer(histories, positions, torch.full((3,), -1))
        tokenizer.item_embedding.weight.mul_(scale)
        long = tokenizer(histories, positions, torch.full((3,), -1))
    assert (short * long).sum(-1).min() > 0.999


def test_an_untrained_token_is_nearest_the_item_that_was_read() -> None:
    tokenizer, histories = _tokenizer(0), _histories(2)
    with torch.inference_mode():
        tokens = tokenizer(histories, torch.arange(24), torch.full((3,), -1))[:, 0]
        nearest = (tokens @ tokenizer.targets(torch.arange(ITEMS)).T).argmax(1)
    assert (nearest == histories.flatten()).float().mean() > 0.9


def test_the_dnn_reads_the_mean_so_far_and_the_latest_item() -> None:
    encoder, x = DNNEncoder(TokenizerConfig(kind="dnn", dim=6, hidden=(4,))).eval(), torch.randn(2, 5, 6)
    read = torch.stack([torch.cat([x[:, : place + 1].mean(1), x[:, place]], dim=-1) for place in range(5)], dim=1)
    torch.testing.assert_close(encoder(x), encoder.mlp(read))
