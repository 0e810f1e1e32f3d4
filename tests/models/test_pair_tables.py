"""Scores in tiles against Eq. 9 written pair by pair, for every scorer; the product behind them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from sparcode_es.codes import unique_codes
from sparcode_es.config import Config, load_config
from sparcode_es.models import products
from sparcode_es.models.pair_tables import PairTables
from sparcode_es.models.sparcode import SparCode

ITEMS, D = 13, 8
KINDS = ("dot", "maxsim", "crossnet", "dnn", "inner_pdnn")


def model_of(seed: int, **settings: Any) -> SparCode:
    """A model whose weights are all random."""
    fixed: dict[str, Any] = {
        "tokenizer.dim": D,
        "quantizer.codes": 5,
        "quantizer.codes_per_token": 2,
        "tokenizer.layers": 1,
        "item_codes.latest": 0,
    }
    fixed["scorer.memory"] = settings.get("quantizer__codebooks", 1) == 1
    config: Config = load_config(overrides=fixed | {name.replace("__", "."): value for name, value in settings.items()})
    torch.manual_seed(seed)
    model = SparCode(config, ITEMS).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    if model.memory is not None:
        rng = np.random.default_rng(seed)
        counts = sparse.random(model.num_possible_codes, ITEMS, 0.3, "csr", np.float32, rng)
        model.memory.fit(counts, np.full(ITEMS, 7))
        model.memory.weight.fill_(0.7)
    return model


def layers(x: torch.Tensor, head: Any) -> torch.Tensor:
    """The layers after the first, x [h] → a number."""
    x = x.relu()
    for layer in head.layers:
        x = (layer.weight.double() @ x + layer.bias.double()).relu()
    return (head.output.weight.double() @ x + head.output.bias.double()).squeeze(0)


def pair_score(model: SparCode, vector: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """S of one code vector [D] and the tokens of one item [K_c, D], float64: §4.3.1, with the residual."""
    config, scorer, scale = model.config.scorer, model.scorer, model.log_scale.double().exp()
    if config.kind == "dot":
        return scale * sum(vector @ token for token in tokens)
    if config.kind == "maxsim":
        return scale * max(vector @ token for token in tokens)
    if config.kind == "crossnet":
        start = x = torch.cat([vector, *tokens])
        for layer in scorer.layers:
            x = start * (layer.weight.double() @ x + layer.bias.double()) + x
        found = (scorer.output.weight.double() @ x + scorer.output.bias.double()).squeeze(0)
    elif config.kind == "dnn":
        weight = torch.cat([scorer.code.weight, scorer.item.weight], dim=1).double()
        found = layers(weight @ torch.cat([vector, *tokens]) + scorer.code.bias.double(), scorer.head)
    else:
        weight = scorer.weight.double().flatten(1)
        found = layers(weight @ torch.cat([vector * t for t in tokens]) + scorer.bias.double(), scorer.head)
    return found + scale * (vector @ tokens[0]) if config.residual else found


@torch.inference_mode()
def pair_by_pair(model: SparCode, codes: np.ndarray) -> np.ndarray:
    """S of every code and item, float64 [C, I], with memory."""
    numbers = torch.arange(ITEMS)
    vectors = model.item_vectors(numbers).double()
    linear = model.item_tokens.linear
    tokens = (vectors @ linear.weight.double().T + linear.bias.double()).view(ITEMS, -1, D)
    found = torch.stack(
        [torch.stack([pair_score(model, c, t) for t in tokens]) for c in model.vectors_of(codes).double()]
    )
    lifts = model.lifts_of(codes)
    return found.numpy() + (0 if lifts is None else lifts.toarray())


def tiled(model: SparCode, codes: np.ndarray, most_codes: int, most_items: int) -> np.ndarray:
    """The tiles put together; no pair comes twice, and items come in order."""
    table = np.full((len(codes), ITEMS), np.nan, dtype=np.float32)
    places = []
    for code, item, scores in model.score_tiles(codes, most_codes, most_items):
        assert len(scores) <= most_codes
        assert scores.shape[1] <= most_items
        part = table[code : code + scores.shape[0], item : item + scores.shape[1]]
        assert np.isnan(part).all()
        part[:] = scores
        places.append((item, code))
    assert places == sorted(places)
    return table


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25)
@given(
    seed=st.integers(0, 99),
    M=st.integers(1, 2),
    K_c=st.integers(1, 2),
    hidden=st.sampled_from([(4,), (6, 3)]),
    residual=st.booleans(),
    heads=st.sampled_from([(1, True), (2, True), (2, False)]),
    untied=st.booleans(),
    most=st.tuples(st.integers(1, 30), st.integers(1, 15)),
    share=st.sampled_from([0.2, 1.0]),
)
def test_tiles_are_eq_9(
    kind: str, seed: int, M: int, K_c: int, hidden: tuple[int, ...], residual: bool, heads: tuple[int, bool],
    untied: bool, most: tuple[int, int], share: float,
) -> None:  # fmt: skip
    model = model_of(
        seed,
        scorer__kind=kind, scorer__hidden=list(hidden), scorer__residual=residual, scorer__untied_items=untied,
        scorer__free_codes=untied, tokenizer__item_tokens=K_c, tokenizer__tokens=heads[0], quantizer__shared=heads[1],
        quantizer__codebooks=M, quantizer__assignment="nearest",
    )  # fmt: skip
    codes = model.all_codes()
    codes = codes[np.random.default_rng(seed).permutation(len(codes))[: 1 + int(share * len(codes))]]
    codes = unique_codes(codes)[0]
    expected = pair_by_pair(model, codes)
    found = tiled(model, codes, *most)
    allowed = 1e-6 * max(1.0, np.abs(expected).max(initial=0)) * (10 if kind == "crossnet" else 2)
    np.testing.assert_allclose(found, expected, atol=allowed, rtol=0)
    np.testing.assert_allclose(found, model.score_codes(codes, slice(0, ITEMS)), atol=allowed, rtol=0)


def test_sub_codes_are_shared_where_they_are_few() -> None:
    model = model_of(0, quantizer__codebooks=2, quantizer__assignment="nearest", scorer__hidden=[4])
    with torch.inference_mode():
        all_of_them, few = (PairTables(model, codes).first for codes in (model.all_codes(), model.all_codes()[:9]))
    assert all_of_them is not None
    assert few is not None
    assert (all_of_them.sub_codes, few.sub_codes) == (10, 0)
    assert [rows.shape for rows in all_of_them.rows_of] == [(4, 5, D + 1)] * 2


def test_rows_that_are_not_kept_are_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of(1, scorer__hidden=[4])
    kept = tiled(model, model.all_codes(), 2, 9)
    monkeypatch.setattr("sparcode_es.models.pair_tables.KEPT_NUMBERS", 0)
    np.testing.assert_array_equal(tiled(model, model.all_codes(), 2, 9), kept)


@pytest.mark.parametrize("hidden", [[5], [16, 16, 8]])
@pytest.mark.parametrize("kind", ["dot", "dnn", "inner_pdnn"])
def test_a_codes_scores_do_not_depend_on_the_codes_beside_it(kind: str, hidden: list[int]) -> None:
    """Bit for bit, so that an update, which scores some codes, gives what a build gives, which scores all."""
    for seed in range(8):
        model = model_of(seed, scorer__kind=kind, scorer__hidden=hidden, tokenizer__dim=32, quantizer__codes=40)
        codes = model.all_codes()
        whole = tiled(model, codes, 16, 9)
        for rows in ([3], [0, 39], list(range(17)), list(range(1, 34))):
            np.testing.assert_array_equal(tiled(model, codes[rows], 16, 9), whole[rows])


@pytest.mark.parametrize("relu", [False, True])
def test_a_product_by_one_dnn_is_the_product(relu: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    x, w = torch.randn(65, 33), torch.randn(17, 33)
    with torch.inference_mode():
        found = products.product(x, w, relu)
        monkeypatch.setattr(products, "ONE_DNN", None)
        expected = products.product(x, w, relu)
        exact = (x.double() @ w.double().T).relu() if relu else x.double() @ w.double().T
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.double(), exact, atol=1e-5, rtol=0)
