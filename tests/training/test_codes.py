"""Stage 2: what goes on learning where the tokenizer does, and what a tokenizer that does not is read with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sparcode_es.config import load_config
from sparcode_es.data.dataset import Dataset
from sparcode_es.models.sparcode import SparCode
from sparcode_es.training import codes
from sparcode_es.training.build import build_model
from sparcode_es.training.trainer import Trainer
from training.small import SMALL


def _begun(chain: Path, folder: Path, **options: object) -> tuple[Trainer, SparCode]:
    """A trainer, and a model that nothing has taught."""
    dataset = Dataset.open(chain)
    trainer = Trainer(load_config(overrides=SMALL | options), dataset, folder, lambda line: None, False)
    torch.manual_seed(0)
    model = build_model(trainer.config, dataset)
    assert isinstance(model, SparCode)
    return trainer, model


@pytest.mark.parametrize("frozen", [False, True])
def test_codebooks_move_where_the_tokenizer_learns(
    frozen: bool, chain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, model = _begun(
        chain, tmp_path, **{"training.freeze_tokenizer": frozen, "training.codes.epochs": 1, "tokenizer.dropout": 0.0}
    )
    begun, start = [], codes.start_codes

    def noted(*args: object) -> None:
        start(*args)  # type: ignore[arg-type]
        begun.append(model.quantizer.codebooks.clone())

    monkeypatch.setattr(codes, "start_codes", noted)
    codes.train_codes(trainer, model)
    [first] = begun
    assert torch.equal(model.quantizer.codebooks, first) is frozen


def test_frozen_tokens_are_drawn_with_dropout_anew_each_epoch(chain: Path, tmp_path: Path) -> None:
    trainer, model = _begun(chain, tmp_path)
    source = codes._frozen_positions(trainer, model)
    torch.manual_seed(1)
    (first, *_), (second, *_) = ([*source(4, np.random.default_rng(0))] for _epoch in range(2))
    assert torch.equal(first[2], second[2])  # the same positions
    assert not torch.allclose(first[1].boosts, second[1].boosts, atol=1e-3)
