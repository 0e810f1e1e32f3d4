"""Weights that validation chooses once the item codes are gone, the same in every benchmark; the settings of Faiss."""

from __future__ import annotations

from pathlib import Path

import figure6_time
import numpy as np
import pytest
import torch
from faiss_points import faiss_points
from item_codes import beside_tower, leave_out, leave_out_repeat, leave_out_ridge
from systems import Bench

from sparcode_es.baselines.two_tower import TwoTower
from sparcode_es.config import load_config
from sparcode_es.data.dataset import Dataset
from sparcode_es.engines.faiss import HNSW, IVFPQ
from sparcode_es.models.case_scores import ItemPart
from sparcode_es.models.encode import assign_codes, encode_tokens
from sparcode_es.models.sparcode import SparCode
from sparcode_es.training.build import build_model
from sparcode_es.training.memory import WEIGHTS, code_counts, item_counts
from sparcode_es.training.trainer import validation_metrics
from training.small import SMALL

OVERRIDES = SMALL | {"quantizer.codes": 64, "scorer.kind": "dot"}


def remembering(dataset: Dataset, **options: object) -> SparCode:
    """A model that has learned nothing, and remembers what followed its codes and the items."""
    torch.manual_seed(0)
    model = build_model(load_config(overrides=OVERRIDES | options), dataset).eval()
    assert isinstance(model, SparCode)
    assert model.memory is not None
    assert model.item_memory is not None
    valid, events = dataset.cases("valid"), dataset.train_sequences(False)
    popularity = np.bincount(events.items, minlength=model.num_items)
    tokens = encode_tokens(model, valid.history_offsets, valid.history_items, valid.users)
    model.memory.fit(code_counts(model, *assign_codes(model, tokens), valid.target_items), popularity)
    model.item_memory.fit(item_counts(model.config.item_codes, events, model.num_items), popularity)
    model.memory.weight.fill_(0.25)
    model.item_memory.weight.fill_(1.0)
    return model


def weights_of(model: SparCode) -> tuple[float, float]:
    """Of the lifts, and of the item codes."""
    assert model.memory is not None
    assert model.item_memory is not None
    return float(model.memory.weight), float(model.item_memory.weight)


def test_the_lifts_get_the_weight_that_is_best_without_item_codes(ring: Path) -> None:
    dataset, valid = Dataset.open(ring), Dataset.open(ring).cases("valid")
    model, other = remembering(dataset), remembering(dataset)
    assert other.memory is not None
    assert other.item_memory is not None
    other.item_memory.weight.zero_()
    found = {}
    for weight in WEIGHTS:
        other.memory.weight.fill_(weight)
        found[weight] = validation_metrics(other.case_scores(valid), valid, dataset)[model.config.training.metric]
    best = max(found, key=lambda weight: found[weight])
    assert best != 0.25
    assert leave_out(model, dataset) == best
    assert weights_of(model) == (best, 0.0)


def test_without_ridge_weights_a_model_is_as_one_that_never_had_them(ring: Path) -> None:
    dataset, valid = Dataset.open(ring), Dataset.open(ring).cases("valid")
    model, other = remembering(dataset), remembering(dataset)
    assert model.item_memory is not None
    model.item_memory.mix(np.random.default_rng(0).random(len(model.item_memory.counts), dtype=np.float32), 0.5)
    assert leave_out_ridge(model, dataset) == leave_out_ridge(other, dataset)
    assert weights_of(model) == weights_of(other)
    assert weights_of(model)[1] == 1.0
    rows = np.arange(len(valid))
    np.testing.assert_array_equal(model.case_scores(valid)(rows), other.case_scores(valid)(rows))


def test_without_repeat_codes_a_model_is_as_one_that_never_had_them(ring: Path) -> None:
    dataset, valid = Dataset.open(ring), Dataset.open(ring).cases("valid")
    model, other = remembering(dataset), remembering(dataset)
    assert model.repeat is not None
    model.repeat.weight.fill_(2.0)
    rows = np.arange(len(valid))
    with_them, never = model.case_scores(valid)(rows), other.case_scores(valid)(rows)
    seen = np.zeros(with_them.shape, dtype=bool)
    seen[valid.history.owners, valid.history.items] = True
    assert (with_them > never)[seen].all()
    np.testing.assert_array_equal(with_them[~seen], never[~seen])
    assert leave_out_repeat(model, dataset) == leave_out_ridge(other, dataset)
    np.testing.assert_array_equal(model.case_scores(valid)(rows), other.case_scores(valid)(rows))
    model.repeat.weight.fill_(2.0)
    assert leave_out(model, dataset) == leave_out(other, dataset)
    np.testing.assert_array_equal(model.case_scores(valid)(rows), other.case_scores(valid)(rows))


def test_a_two_tower_gets_repeat_codes_where_sparcode_has_them(ring: Path) -> None:
    dataset, valid = Dataset.open(ring), Dataset.open(ring).cases("valid")
    model, config = remembering(dataset), load_config(overrides=SMALL | {"model": "two_tower"})
    twin = build_model(config, dataset).eval()
    assert isinstance(twin, TwoTower)
    assert model.repeat is not None
    assert beside_tower(twin, model, dataset, valid)[1]["repeat_weight"] == 0.0
    model.repeat.weight.fill_(2.0)
    score, weights = beside_tower(twin, model, dataset, valid)
    rows = np.arange(len(valid))
    wanted = twin.case_scores(valid)(rows)
    ItemPart(model, valid).add_to(wanted, rows, weights["item_codes_weight"], weights["repeat_weight"])
    np.testing.assert_array_equal(score(rows), wanted)


def test_a_weight_that_the_configuration_names_stays(ring: Path) -> None:
    dataset = Dataset.open(ring)
    model = remembering(dataset, **{"scorer.memory_weight": 0.25})
    assert leave_out(model, dataset) == 0.25
    assert weights_of(model) == (0.25, 0.0)


def test_figure_6_leaves_item_codes_out_as_the_table_of_quality(
    ring: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = Dataset.open(ring)
    model, alone = remembering(dataset), remembering(dataset)
    leave_out(alone, dataset)
    tower = TwoTower(load_config(overrides=SMALL | {"model": "two_tower"}), dataset.num_items)
    monkeypatch.setattr(figure6_time, "_models", lambda _bench: (tower, model))
    monkeypatch.setattr(figure6_time, "faiss_points", lambda *_: [])
    monkeypatch.setattr(figure6_time, "sparcode_system", lambda _b, m, series, *_: (series, weights_of(m)))
    bench = Bench(dataset, None, (0,), "small", tmp_path, tmp_path, {})
    found = dict(figure6_time.systems(bench, tmp_path))
    assert found == {"SparCode (embedded engine)": (0.25, 1.0), "SparCode without item codes": weights_of(alone)}


def test_the_settings_of_faiss() -> None:
    found = faiss_points(54_542, (16, 32))
    assert [(kind, setting) for kind, setting, _ in found][:3] == [
        ("FlatIP", ""), ("IVFPQ", "16 bytes, 4 of 467 lists"), ("IVFPQ", "16 bytes, 16 of 467 lists")
    ]  # fmt: skip
    assert found[-1] == ("HNSW", "ef 256", HNSW(ef_search=256))
    assert ("IVFPQ", "12 bytes, 4 of 20 lists", IVFPQ(20, 4, 16, bits=6)) in faiss_points(100, [16])
    assert {kind for kind, _, _ in faiss_points(50, [16])} == {"FlatIP", "HNSW"}
