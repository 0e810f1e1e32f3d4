"""Codes by numpy are the codes by torch."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from sparcode_es.config import load_config
from sparcode_es.models.encode import assign_codes, assign_few_codes
from sparcode_es.models.sparcode import SparCode

D = 12


@settings(max_examples=40)
@given(
    seed=st.integers(0, 999),
    n=st.integers(1, 5),
    K=st.integers(1, 3),
    kind=st.sampled_from([("nearest", 1), ("nearest", 2), ("nearest", 3), ("pursuit", 1)]),
    shared=st.booleans(),
    steps=st.integers(1, 6),
)
def test_codes_of_tokens(seed: int, n: int, K: int, kind: tuple[str, int], shared: bool, steps: int) -> None:
    config = load_config(
        overrides={
            "tokenizer.dim": D,
            "tokenizer.tokens": K,
            "quantizer.codes": 9,
            "quantizer.assignment": kind[0],
            "quantizer.codebooks": kind[1],
            "quantizer.shared": shared,
            "quantizer.codes_per_token": steps,
            "scorer.memory": False,
        }
    )
    torch.manual_seed(seed)
    model = SparCode(config, 3).eval()
    tokens = F.normalize(torch.randn(n, K, D), dim=-1)
    codes, boosts = assign_few_codes(model, tokens)
    expected, weights = assign_codes(model, tokens)
    np.testing.assert_allclose(boosts, weights, atol=2e-5)
    # A code with no boost is no code: which one stands there is open.
    np.testing.assert_array_equal(codes[boosts > 1e-4], expected[boosts > 1e-4])
    assert (codes.dtype, boosts.dtype) == (expected.dtype, weights.dtype)
