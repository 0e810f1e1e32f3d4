"""The quantizer: Eq. 7 and 8, the EMA update, k-means, pursuit, gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from sparcode_es.config import QuantizerConfig
from sparcode_es.errors import ConfigError
from sparcode_es.models.quantizer import Quantizer, kmeans, pursuit, squared_distances


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def hard(M: int = 1, N: int = 8, shared: bool = True, heads: int = 3, dim: int = 12, **options: object) -> Quantizer:
    torch.manual_seed(1)
    config = QuantizerConfig(codebooks=M, codes=N, shared=shared, assignment="nearest", **options)  # type: ignore[arg-type]
    return Quantizer(config, dim, heads)


@pytest.mark.parametrize("M", [1, 2, 3])
@pytest.mark.parametrize("shared", [True, False])
def test_nearest_is_the_argmin_of_equation_7(M: int, shared: bool) -> None:
    quantizer = hard(M, shared=shared)
    tokens = unit(5, 3, 12)
    codes = quantizer.nearest(tokens)
    assert codes.shape == (5, 3, M)
    for p in range(5):
        for k in range(3):
            for m, sub in enumerate(tokens[p, k].view(M, -1)):
                book = quantizer.codebooks[0 if shared else k, m]
                assert int(codes[p, k, m]) == int((book - sub).norm(dim=-1).argmin())


@pytest.mark.parametrize("shared", [True, False])
def test_lookup_concatenates_the_sub_embeddings_of_equation_8(shared: bool) -> None:
    quantizer = hard(2, shared=shared)
    codes = torch.randint(8, (4, 3, 1, 2), generator=torch.Generator().manual_seed(3))
    vectors = quantizer.lookup(codes)
    for p in range(4):
        for k in range(3):
            books = quantizer.codebooks[0 if shared else k]
            expected = torch.cat([books[0, codes[p, k, 0, 0]], books[1, codes[p, k, 0, 1]]])
            assert torch.equal(vectors[p, k, 0], expected)


def test_ema_update_is_the_papers() -> None:
    quantizer = hard(1, N=2, heads=1, dim=2, decay=0.9, revive_below=0.0)
    book = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    quantizer.codebooks[0, 0] = book
    quantizer.ema_counts.fill_(1.0)
    quantizer.ema_sums[0, 0] = book
    tokens = F.normalize(torch.tensor([[[1.0, 0.1]], [[1.0, -0.2]]]), dim=-1)
    quantizer.update(tokens)
    assert quantizer.ema_counts[0, 0].tolist() == pytest.approx([0.9 + 0.1, 0.9])
    expected = F.normalize(0.9 * book[0] + 0.1 * tokens.sum((0, 1)) / 2, dim=-1)
    assert torch.allclose(quantizer.codebooks[0, 0, 0], expected, atol=1e-6)
    assert torch.allclose(quantizer.codebooks[0, 0, 1], book[1], atol=1e-6)


def test_a_dead_code_is_revived_on_a_token_of_the_batch() -> None:
    quantizer = hard(1, N=4, heads=1, dim=2)
    quantizer.ema_counts.fill_(1.0)
    quantizer.ema_counts[0, 0, 3] = 1e-9
    quantizer.codebooks[0, 0, 3] = 50.0  # nearest to nothing
    tokens = unit(6, 1, 2)
    quantizer.update(tokens)
    distance = (tokens.flatten(0, 1) - quantizer.codebooks[0, 0, 3]).norm(dim=-1).min()
    assert float(distance) < 1e-5
    assert float(quantizer.ema_counts[0, 0, 3]) > 0.1


@pytest.mark.parametrize("codebooks", [1, 2])
def test_codes_that_died_are_revived_on_tokens_however_many_they_are(codebooks: int) -> None:
    quantizer = hard(codebooks, N=8, heads=1, dim=4)
    quantizer.ema_counts.fill_(1.0)
    quantizer.ema_counts[:, :, 4:] = 1e-9
    quantizer.codebooks[:, :, 4:] = 50.0  # nearest to nothing
    tokens = unit(6, 1, 4)
    quantizer.update(tokens)
    for m in range(codebooks):
        distance = torch.cdist(quantizer.codebooks[0, m, 4:], quantizer.split(tokens)[0, m]).amin(1)
        assert float(distance.max()) < 1e-5


@pytest.mark.parametrize("shared", [True, False])
def test_warm_start_finds_separate_clusters(shared: bool) -> None:
    centres = torch.eye(12)[:8]
    quantizer = hard(1, N=8, heads=1, shared=shared)
    tokens = F.normalize(centres.repeat(20, 1) + 0.01 * torch.randn(160, 12), dim=-1).unsqueeze(1)
    torch.manual_seed(0)
    quantizer.warm_start(tokens)
    found = (quantizer.codebooks[0, 0] @ centres.T).amax(0)
    assert float((found > 0.99).float().mean()) >= 0.75
    assert torch.allclose(quantizer.codebooks.norm(dim=-1), torch.ones(1, 1, 8), atol=1e-5)


def test_kmeans_has_no_empty_cluster_when_there_are_enough_points() -> None:
    torch.manual_seed(0)
    _, counts = kmeans(unit(500, 6), 32, 20, spherical=False)
    assert int((counts == 0).sum()) == 0
    assert int(counts.sum()) == 500


def test_kmeans_with_fewer_points_than_clusters_does_not_fail() -> None:
    torch.manual_seed(0)
    centres, _ = kmeans(unit(3, 6), 8, 5, spherical=True)
    assert torch.isfinite(centres).all()


@settings(max_examples=40)
@given(seed=st.integers(0, 10_000), steps=st.integers(1, 6))
def test_pursuit_is_non_negative_and_never_gets_worse(seed: int, steps: int) -> None:
    x, dictionary = unit(7, 10, seed=seed), unit(40, 10, seed=seed + 1)
    previous = torch.ones(7)
    for r in range(1, steps + 1):
        index, weight = pursuit(x, dictionary, r)
        assert (weight >= 0).all()
        error = (x - torch.einsum("nr,nrd->nd", weight, dictionary[index])).norm(dim=-1)
        assert (error <= previous + 1e-3).all()
        assert all(len(set(row)) == r for row in index.tolist())
        previous = error


def test_pursuit_recovers_an_exact_combination() -> None:
    dictionary = torch.eye(10)
    x = 0.6 * dictionary[2:3] + 0.8 * dictionary[7:8]
    index, weight = pursuit(x, dictionary, 2)
    found = dict(zip(index[0].tolist(), weight[0].tolist(), strict=True))
    assert found == {2: pytest.approx(0.6, abs=1e-4), 7: pytest.approx(0.8, abs=1e-4)}


@pytest.mark.parametrize(("gradient", "flows"), [("straight_through", True), ("soft", True), ("commitment", False)])
def test_gradient_to_the_tokenizer(gradient: str, flows: bool) -> None:
    quantizer = hard(2, gradient=gradient)
    tokens = unit(5, 3, 12).requires_grad_(True)
    assignment = quantizer.assign(tokens)
    vectors = quantizer.quantised(tokens, assignment)
    assert torch.allclose(vectors, quantizer.lookup(assignment.codes), atol=1e-6)
    assert vectors.requires_grad is flows
    if flows:
        (grad,) = torch.autograd.grad(vectors.square().sum(), tokens)
        assert float(grad.abs().sum()) > 0
    if gradient == "straight_through":
        assert torch.allclose(grad, 2 * quantizer.lookup(assignment.codes).squeeze(2), atol=1e-5)


def test_soft_pursuit_carries_a_gradient_through_its_boosts() -> None:
    torch.manual_seed(0)
    quantizer = Quantizer(QuantizerConfig(codes=16, codes_per_token=3, gradient="soft"), 12, 2)
    tokens = unit(4, 2, 12).requires_grad_(True)
    assignment = quantizer.assign(tokens)
    with torch.no_grad():
        plain = quantizer.assign(tokens.detach())
    assert torch.equal(assignment.codes, plain.codes)
    assert torch.allclose(assignment.boosts, plain.boosts, atol=1e-4)
    (grad,) = torch.autograd.grad(assignment.boosts.sum(), tokens)
    assert float(grad.abs().sum()) > 0


def test_commitment_is_equation_13() -> None:
    quantizer = hard(2)
    tokens = unit(5, 3, 12)
    assignment = quantizer.assign(tokens)
    expected = (tokens - quantizer.lookup(assignment.codes).squeeze(2)).square().sum((1, 2)).mean()
    assert float(quantizer.commitment(tokens, assignment)) == pytest.approx(float(expected), rel=1e-5)


def test_perplexity_of_even_and_of_single_use() -> None:
    quantizer = hard(1, N=4, heads=1, dim=2)
    quantizer.usage.fill_(5.0)
    assert quantizer.usage_report() == (1.0, pytest.approx(1.0))
    quantizer.usage[0, 0] = torch.tensor([9.0, 0.0, 0.0, 0.0])
    assert quantizer.usage_report() == (0.25, pytest.approx(0.25))


def test_distances_against_numpy() -> None:
    x, y = unit(6, 4), unit(5, 4, seed=2)
    expected = ((x.numpy()[:, None] - y.numpy()[None]) ** 2).sum(-1)
    np.testing.assert_allclose(squared_distances(x, y).numpy(), expected, atol=1e-5)


def test_pursuit_refuses_what_it_cannot_do() -> None:
    with pytest.raises(ConfigError, match="codebooks = 1"):
        QuantizerConfig(codebooks=2, assignment="pursuit")
    with pytest.raises(ConfigError, match="boosts"):
        QuantizerConfig(assignment="pursuit", gradient="straight_through")


@pytest.mark.parametrize("M", [1, 2])
@pytest.mark.parametrize("shared", [True, False])
def test_a_cold_soft_assignment_is_the_nearest(M: int, shared: bool) -> None:
    quantizer, tokens = hard(M, shared=shared, gradient="soft"), unit(5, 3, 12)
    nearest = quantizer.lookup(quantizer.nearest(tokens).unsqueeze(2)).squeeze(2)
    torch.testing.assert_close(quantizer._soft(tokens, 1e-5), nearest, atol=1e-4, rtol=0)


def test_what_commits_a_token_are_its_codes_by_their_boosts() -> None:
    torch.manual_seed(0)
    quantizer, tokens = Quantizer(QuantizerConfig(codes=16, codes_per_token=3), 12, 2), unit(5, 2, 12)
    assignment = quantizer.assign(tokens)
    near = torch.einsum("pkr,pkrd->pkd", assignment.boosts, quantizer.lookup(assignment.codes))
    expected = (tokens - near).square().sum((1, 2)).mean()
    torch.testing.assert_close(quantizer.commitment(tokens, assignment), expected)


@pytest.mark.parametrize("M", [1, 2])
def test_each_heads_codebooks_learn_from_its_own_tokens(M: int) -> None:
    """Two heads far apart: k-means finds both, and so does the EMA from anywhere."""
    quantizer = hard(M, N=2, shared=False, heads=2, dim=4, revive_below=0.0, decay=0.5)
    centres = unit(1, 2, 4, seed=3)
    tokens = F.normalize(centres + 0.01 * torch.randn(40, 2, 4, generator=torch.Generator().manual_seed(4)), dim=-1)
    quantizer.warm_start(tokens)
    assert quantizer.commitment(tokens, quantizer.assign(tokens)) < 0.01
    torch.testing.assert_close(quantizer.ema_counts.sum(-1), torch.ones(2, M), atol=1e-2, rtol=0)
    assert quantizer.ema_counts.std() > 1e-3
    quantizer.codebooks.normal_()
    quantizer.ema_sums.copy_(quantizer.codebooks)
    quantizer.ema_counts.fill_(1.0)
    for _ in range(60):
        quantizer.update(tokens)
    assert quantizer.commitment(tokens, quantizer.assign(tokens)) < 0.01


@pytest.mark.parametrize("size", [1e-3, 1e3])
def test_what_counts_as_dead_is_measured_by_the_mean(size: float) -> None:
    quantizer = hard(N=4, heads=1, dim=2)
    quantizer.ema_counts.copy_(size * torch.tensor([[[1.0, 1.0, 1.0, 0.001]]]))
    quantizer._revive(0, 0, unit(6, 2))
    assert quantizer.ema_counts.flatten().tolist() == pytest.approx([size, size, size, 0.75025 * size])


@pytest.mark.parametrize("batch", [4, 400])
def test_a_warm_start_outlasts_the_first_batch_however_large(batch: int) -> None:
    """Tokens on one code's centre alone: what the start said of the others goes by γ a batch, whatever the batch's size."""
    quantizer = hard(N=2, heads=1, dim=2, decay=0.9, revive_below=0.0)
    torch.manual_seed(0)
    quantizer.warm_start(F.normalize(torch.eye(2).repeat(50, 1) + 0.01 * torch.randn(100, 2), dim=-1).unsqueeze(1))
    before = quantizer.ema_counts.clone()
    quantizer.update(quantizer.codebooks[0, 0, :1].expand(batch, 1, 2))
    torch.testing.assert_close(quantizer.ema_counts[0, 0], 0.9 * before[0, 0] + torch.tensor([0.1, 0.0]))


@pytest.mark.parametrize("assignment", ["nearest", "pursuit"])
@pytest.mark.parametrize("tokens", [1, 3])
def test_no_token_has_no_code(assignment: str, tokens: int) -> None:
    """A split may have no case."""
    config = QuantizerConfig(codes=8, codes_per_token=2, assignment=assignment)  # type: ignore[arg-type]
    found = Quantizer(config, 4, tokens).assign(torch.zeros(0, tokens, 4))
    each = 2 if assignment == "pursuit" else 1
    assert found.codes.shape == (0, tokens, each, 1)
    assert found.boosts.shape == (0, tokens, each)
