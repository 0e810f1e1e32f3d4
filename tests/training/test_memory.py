"""The training counts of item codes, against counting by hand; what validation and a quantile choose."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparcode_es.config import ItemCodesConfig, load_config
from sparcode_es.data.dataset import Dataset, Sequences
from sparcode_es.errors import ConfigError
from sparcode_es.models.encode import assign_codes
from sparcode_es.models.sparcode import SparCode
from sparcode_es.training.build import build_model
from sparcode_es.training.checkpoint import read_checkpoint
from sparcode_es.training.codes import sample_tokens, start_codes
from sparcode_es.training.loop import train
from sparcode_es.training.memory import code_counts, item_counts
from sparcode_es.training.trainer import Trainer, validation_metrics
from training.small import SMALL

ITEMS = 6
histories = st.lists(st.lists(st.integers(0, ITEMS - 1), max_size=9), max_size=5)


@given(histories, st.integers(1, 12), st.floats(0.1, 1), st.integers(0, 99))
def test_each_event_counts_the_items_of_the_window_before_it(
    rows: list[list[int]], window: int, decay: float, seed: int
) -> None:
    offsets = np.cumsum([0, *map(len, rows)]).astype(np.uint64)
    items = np.array([item for row in rows for item in row], dtype=np.uint32)
    counted = np.random.default_rng(seed).random(len(items)) < 0.5
    expected, some = np.zeros((ITEMS, ITEMS)), np.zeros((ITEMS, ITEMS))
    for start, row in zip(offsets.tolist(), rows, strict=False):
        for place, item in enumerate(row):
            for lag, before in enumerate(reversed(row[max(place - window, 0) : place])):
                expected[before, item] += decay**lag
                some[before, item] += decay**lag * counted[start + place]
    config = ItemCodesConfig(latest=2, decay=0.5, window=window, window_decay=decay)
    sequences = Sequences(offsets, items, np.arange(len(rows), dtype=np.uint32))
    np.testing.assert_allclose(item_counts(config, sequences, ITEMS).toarray(), expected, rtol=1e-12)
    np.testing.assert_allclose(item_counts(config, sequences, ITEMS, counted).toarray(), some, rtol=1e-12)


def test_each_code_counts_what_followed_it_by_its_boost() -> None:
    """Tokens of 0.6 and 0.8 of the codes 0 and 1, and of 0.28 and 0.96 of 1 and 2."""
    model = SparCode(load_config(overrides=SMALL | {"quantizer.codes_per_token": 2}), ITEMS)
    model.quantizer.codebooks.copy_(torch.eye(16))
    tokens = torch.zeros(2, 1, 16)
    tokens[0, 0, :2], tokens[1, 0, 1:3] = torch.tensor([0.6, 0.8]), torch.tensor([0.28, 0.96])
    expected = np.zeros((16, ITEMS))
    expected[0, [2, 5]], expected[1, [2, 5]], expected[2, 2] = 0.6, [0.8 + 0.28, 0.8], 0.96
    found = code_counts(model, *assign_codes(model, tokens), np.array([2, 5, 2]), np.array([0, 0, 1]))
    np.testing.assert_allclose(found.toarray(), expected, atol=1e-5)
    np.testing.assert_allclose(
        code_counts(model, *assign_codes(model, tokens), np.array([4, 4])).toarray()[:3, 4],
        [0.6, 1.08, 0.96],
        atol=1e-5,
    )


@pytest.mark.parametrize("settings", [{"window": 0}, {"window": 257}, {"window_decay": 0.0}, {"window_decay": 1.1}])
def test_a_window_that_counts_nothing_or_grows_is_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=r"item_codes\.window"):
        ItemCodesConfig(**settings)  # type: ignore[arg-type]


def test_each_memory_has_the_weight_that_is_best_on_validation(chain: Path, tmp_path: Path) -> None:
    dataset = Dataset.open(chain)
    config = load_config(overrides=SMALL | {"training.tower.epochs": 2, "training.codes.epochs": 1})
    result = train(config, dataset, tmp_path, bars=False)
    report, valid = result.report, dataset.cases("valid")
    model = read_checkpoint(result.model_path).model
    now = validation_metrics(model.case_scores(valid), valid, dataset)[config.training.metric]
    assert report["memory_validation"] == pytest.approx(now, abs=1e-6)
    records = map(json.loads, (tmp_path / "log.jsonl").read_text().splitlines())
    tried = {record.pop("stage"): record for record in records if "weight 1.0" in record}
    for name in ("item_codes", "memory"):
        assert report[f"{name}_validation"] == max(tried[name].values())
        assert report[f"{name}_validation"] == tried[name][f"weight {report[f'{name}_weight']}"]


def test_b_begins_where_the_wanted_share_is_cut(chain: Path, tmp_path: Path) -> None:
    dataset = Dataset.open(chain)
    config = load_config(overrides=SMALL | {"scorer.initial_sparsity": 0.8})
    trainer = Trainer(config, dataset, tmp_path, lambda line: None, False)
    torch.manual_seed(0)
    model = build_model(trainer.config, dataset).eval()
    assert isinstance(model, SparCode)
    start_codes(model, sample_tokens(trainer, model), dataset.num_items)
    scores = model.score_codes(model.all_codes(), slice(None)) + model.bias
    assert (scores <= 0).mean() == pytest.approx(0.8, abs=0.1)
