"""All-to-All SA's interactions: a candidate beside a history is the candidate appended to it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from sparcode_es.baselines.all_to_all import AllToAll
from sparcode_es.baselines.two_tower import TwoTower
from sparcode_es.config import LossConfig, load_config
from sparcode_es.data.dataset import Cases
from sparcode_es.models.batches import Windows
from sparcode_es.models.candidates import CandidateBlock, Reading
from sparcode_es.models.losses import NegativeSampler
from sparcode_es.models.tokenizers import Block
from training.small import SMALL

ITEMS = 37


def _cases(lengths: list[int]) -> Cases:
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.uint64)
    items = np.random.default_rng(0).integers(ITEMS, size=int(offsets[-1])).astype(np.uint32)
    n = len(lengths)
    targets = np.arange(n + 1, dtype=np.uint64)
    return Cases(np.arange(n, dtype=np.uint32), offsets, items, targets, np.zeros(n, dtype=np.uint32))


def _model(**options: object) -> AllToAll:
    torch.manual_seed(0)
    return AllToAll(load_config(overrides=SMALL | {"model": "all_to_all"} | options), ITEMS).eval()


@torch.inference_mode()
def test_joining_a_block_is_being_appended_to_the_history() -> None:
    torch.manual_seed(0)
    block = CandidateBlock(8, 2, 0.5, hidden=16).eval()
    plain = Block(8, 2, 0.5, hidden=16).eval()
    plain.load_state_dict(block.state_dict())
    states, candidates = torch.randn(3, 6, 8), torch.randn(1, 5, 8)
    owners, ends = torch.tensor([0, 0, 2]), torch.tensor([2, 5, 0])
    joined = block.join(candidates, Reading(torch.empty(0), states, owners, torch.arange(6) <= ends[:, None]))
    for p, (owner, end) in enumerate(zip(owners.tolist(), ends.tolist(), strict=True)):
        for c in range(5):
            appended = torch.cat([states[owner, : end + 1], candidates[0, c : c + 1]])
            torch.testing.assert_close(joined[p, c], plain(appended[None])[0, -1])


@torch.inference_mode()
def test_two_blocks_are_a_two_layer_transformer_over_history_and_candidate() -> None:
    model = _model(**{"all_to_all.layers": 2, "all_to_all.hidden": 24})
    interaction = model.interaction
    torch.nn.init.normal_(interaction.score.weight)  # type: ignore[union-attr, arg-type]
    histories = torch.tensor([[3, 1, 4, 1, 5]])
    reading = model.read(histories, torch.tensor([4]), torch.tensor([-1]))
    found = interaction(reading, model.items(torch.arange(ITEMS)), torch.tensor(0.0))
    for item in (0, 9, 36):
        x = torch.cat([model.tokenizer.states(histories), model.items(torch.tensor([[item]]))], dim=1)
        for block in interaction.blocks:  # type: ignore[union-attr]
            x = block(x)
        expected = interaction.score(interaction.norm(x[0, -1]))  # type: ignore[operator, union-attr]
        torch.testing.assert_close(found[0, item : item + 1], expected)


@pytest.mark.parametrize("form", ["late", "full"])
@pytest.mark.parametrize("tokens", [1, 3])
def test_it_begins_as_the_tower(form: str, tokens: int) -> None:
    options = {"all_to_all.form": form, "tokenizer.tokens": tokens}
    model = _model(**options)
    tower = TwoTower(model.config, ITEMS).eval()
    model.begin_from(tower)
    cases, rows = _cases([4, 12, 1]), np.arange(3)
    np.testing.assert_allclose(model.case_scores(cases)(rows), tower.case_scores(cases)(rows), rtol=1e-4, atol=1e-4)
    assert not any(p.requires_grad for p in model.tokenizer.parameters())


@pytest.mark.parametrize("form", ["late", "full"])
def test_scores_do_not_depend_on_which_cases_share_a_block(form: str) -> None:
    model = _model(**{"all_to_all.form": form})
    for parameter in model.interaction.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    cases = _cases([4, 12, 1, *range(1, 30)])
    score = model.case_scores(cases)
    whole = score(np.arange(len(cases)))
    alone = np.concatenate([score(np.array([row])) for row in range(len(cases))])
    np.testing.assert_allclose(whole, alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("form", ["late", "full"])
def test_its_loss_is_the_softmax_of_its_scores(form: str) -> None:
    model = _model(**{"all_to_all.form": form, "all_to_all.positions": 99})
    items = np.random.default_rng(0).integers(0, ITEMS, 9).astype(np.uint32)
    batch = next(Windows(np.array([0, 5, 9]), items, np.full(2, -1), 8).batches(2, None))
    reading = model.read(batch.histories, batch.positions, batch.users)
    scores = model.interaction(reading, model.items(torch.arange(ITEMS)), model.log_scale.exp())
    found = model.loss(batch, NegativeSampler(LossConfig(negatives="all"), torch.ones(ITEMS)))
    torch.testing.assert_close(found, F.cross_entropy(scores, batch.targets), rtol=1e-4, atol=1e-5)
