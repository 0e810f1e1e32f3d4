"""Scorers: the factored first layers against the paper's formulas written out."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from sparcode_es.config import ScorerConfig
from sparcode_es.models.scorers import DNN, CrossNet, DotProduct, InnerPDNN, MaxSim, in_blocks, make_scorer

Q, n, K_c, D = 4, 5, 3, 8


@pytest.fixture
def pairs() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(Q, D, generator=generator), torch.randn(n, K_c, D, generator=generator)


def randomise(module: torch.nn.Module) -> None:
    torch.manual_seed(5)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.3)


def head(scorer: DNN | InnerPDNN, first: torch.Tensor) -> torch.Tensor:
    x = F.relu(first)
    for layer in scorer.head.layers:
        x = F.relu(layer(x))
    return scorer.head.output(x).squeeze(-1)


def test_dot_product_sums_over_item_tokens(pairs: tuple[torch.Tensor, torch.Tensor]) -> None:
    codes, items = pairs
    expected = torch.stack([torch.stack([(items[j] @ codes[q]).sum() for j in range(n)]) for q in range(Q)])
    assert torch.allclose(DotProduct()(codes, items), expected, atol=1e-5)


def test_max_sim_takes_the_best_item_token(pairs: tuple[torch.Tensor, torch.Tensor]) -> None:
    codes, items = pairs
    expected = torch.stack([torch.stack([(items[j] @ codes[q]).max() for j in range(n)]) for q in range(Q)])
    assert torch.allclose(MaxSim()(codes, items), expected, atol=1e-5)


@pytest.mark.parametrize("hidden", [(6,), (6, 4)])
def test_inner_pdnn_is_equation_9(pairs: tuple[torch.Tensor, torch.Tensor], hidden: tuple[int, ...]) -> None:
    codes, items = pairs
    scorer = InnerPDNN(D, K_c, hidden)
    randomise(scorer)
    products = (codes[:, None, None] * items[None]).flatten(2)  # [T̃ ⊙ T_1; …; T̃ ⊙ T_Kc]
    first = products @ scorer.weight.flatten(1).T + scorer.bias
    assert torch.allclose(scorer(codes, items), head(scorer, first), atol=1e-4)


@pytest.mark.parametrize("hidden", [(6,), (6, 4)])
def test_dnn_reads_the_concatenation(pairs: tuple[torch.Tensor, torch.Tensor], hidden: tuple[int, ...]) -> None:
    codes, items = pairs
    scorer = DNN(D, K_c, hidden)
    randomise(scorer)
    joined = torch.cat([codes[:, None].expand(Q, n, D), items.flatten(1)[None].expand(Q, n, K_c * D)], dim=-1)
    first = joined @ torch.cat([scorer.code.weight, scorer.item.weight], dim=1).T + scorer.code.bias
    assert torch.allclose(scorer(codes, items), head(scorer, first), atol=1e-4)


def test_cross_net_of_one_layer(pairs: tuple[torch.Tensor, torch.Tensor]) -> None:
    codes, items = pairs
    scorer = CrossNet(D, K_c, 1)
    randomise(scorer)
    x = torch.cat([codes[2], items[3].flatten()])
    expected = scorer.output(x * scorer.layers[0](x) + x)
    assert scorer(codes, items)[2, 3].item() == pytest.approx(expected.item(), abs=1e-4)


@pytest.mark.parametrize("kind", ["dot", "maxsim", "crossnet", "dnn", "inner_pdnn"])
def test_a_block_is_its_pairs(pairs: tuple[torch.Tensor, torch.Tensor], kind: str) -> None:
    codes, items = pairs
    scorer = make_scorer(ScorerConfig(kind=kind, hidden=(6,)), D, K_c)  # type: ignore[arg-type]
    randomise(scorer)
    whole = scorer(codes, items).detach()
    assert whole.shape == (Q, n)
    for q in range(Q):
        for j in range(n):
            assert scorer(codes[q : q + 1], items[j : j + 1]).item() == pytest.approx(whole[q, j].item(), abs=1e-4)


@pytest.mark.parametrize("kind", ["dot", "maxsim", "crossnet", "dnn", "inner_pdnn"])
@pytest.mark.parametrize("numbers", [1, 200, 400])
def test_blocks_of_codes_are_all_of_them_and_so_are_their_gradients(
    pairs: tuple[torch.Tensor, torch.Tensor], kind: str, numbers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer = make_scorer(ScorerConfig(kind=kind, hidden=(6, 4)), D, K_c)  # type: ignore[arg-type]
    randomise(scorer)
    scorer.double()
    codes, items = (part.double().requires_grad_() for part in pairs)
    learned = [codes, items, *scorer.parameters()]

    def made() -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        scores = in_blocks(scorer, codes, items)
        with torch.no_grad():
            assert torch.equal(in_blocks(scorer, codes, items), scores)
        return scores.detach(), torch.autograd.grad(scores.square().sum(), learned)

    whole, gradients = made()
    monkeypatch.setattr("sparcode_es.models.scorers.PAIR_NUMBERS", numbers)
    blocks, again = made()
    torch.testing.assert_close(blocks, whole)
    torch.testing.assert_close(again, gradients)


@pytest.mark.parametrize("kind", ["dnn", "inner_pdnn"])
def test_an_mlp_begins_at_0_beside_a_residual_and_never_alone(
    pairs: tuple[torch.Tensor, torch.Tensor], kind: str
) -> None:
    """Alone at 0, every S + b would lie at 0 after b is set at a quantile of S, and the ReLU of Eq. 10 would pass nothing."""
    for residual in (True, False):
        config = ScorerConfig(kind=kind, hidden=(6,), residual=residual)  # type: ignore[arg-type]
        scores = make_scorer(config, D, K_c)(*pairs).detach()
        assert len(scores.unique()) == (1 if residual else Q * n)
