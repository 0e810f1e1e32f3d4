"""How far what stage `codes` learned is followed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from sparcode_es.config import load_config
from sparcode_es.data.dataset import Dataset
from sparcode_es.errors import ConfigError
from sparcode_es.evaluation.ranking import VIEWS, rank_metrics
from sparcode_es.models.sparcode import SparCode
from sparcode_es.training.checkpoint import read_checkpoint
from sparcode_es.training.loop import TrainResult, train
from sparcode_es.training.refit import refit_config
from sparcode_es.training.share import LEARNED_SHARES, follow, learned_weights
from tests.training.small import SMALL

CODES_ALONE = SMALL | {"training.tower.epochs": 2, "scorer.memory": False, "item_codes.latest": 0}


def trained(data: Path, out: Path, **more: object) -> TrainResult:
    return train(load_config(overrides=CODES_ALONE | more), Dataset.open(data), out, bars=False)


def weights(result: TrainResult) -> dict[str, torch.Tensor]:
    model = read_checkpoint(result.model_path).model
    return {name: value for name, value in model.named_parameters() if not name.startswith("tokenizer.")}


def test_a_share_lies_between_what_was_begun_and_what_was_learned() -> None:
    layer = torch.nn.Linear(3, 2)
    layer.bias.requires_grad_(False)
    kept, begun = layer.bias.clone(), learned_weights(layer)
    assert list(begun) == ["weight"]
    with torch.no_grad():
        layer.weight.add_(torch.randn(2, 3))
    learned = learned_weights(layer)
    for share, expected in [
        (0.0, begun["weight"]),
        (1.0, learned["weight"]),
        (0.25, 0.75 * begun["weight"] + 0.25 * learned["weight"]),
    ]:
        follow(layer, begun, learned, share)
        assert torch.equal(layer.weight, expected) if share in (0, 1) else torch.allclose(layer.weight, expected)
    assert torch.equal(layer.bias, kept)


def test_validation_chooses_the_share_by_both_views(chain: Path, tmp_path: Path) -> None:
    result = trained(chain, tmp_path)
    records = map(json.loads, (tmp_path / "log.jsonl").read_text().splitlines())
    (tried,) = [record for record in records if record["stage"] == "share"]
    by_share = {share: tried[f"share {share}"] for share in LEARNED_SHARES}
    share, metric = result.report["learned_share"], load_config().training.metric
    assert tried["kept"] == share
    assert by_share[share] == max(by_share.values())
    assert len(set(by_share.values())) > 1, "what was learned makes a difference"
    dataset = Dataset.open(chain)
    model, valid = read_checkpoint(result.model_path).model, dataset.cases("valid")
    assert isinstance(model, SparCode)
    found = rank_metrics(model.case_scores(valid), valid, dataset.num_items)
    assert by_share[share] == pytest.approx(np.mean([found[view][metric] for view in VIEWS]), abs=1e-6)
    assert result.report["learned_validation"] == tried[metric] == pytest.approx(found["all"][metric], abs=1e-6)


def test_a_share_that_is_given_is_followed(chain: Path, tmp_path: Path) -> None:
    key = "training.codes.learned_share"
    begun = weights(trained(chain, tmp_path / "none", **{"training.codes.epochs": 0}))
    none, half, whole = (trained(chain, tmp_path / str(share), **{key: share}) for share in (0.0, 0.5, 1.0))
    assert [result.report["learned_share"] for result in (none, half, whole)] == [0.0, 0.5, 1.0]
    assert not any("learned_validation" in result.report for result in (none, half, whole))
    start, middle, end = weights(none), weights(half), weights(whole)
    assert any(not torch.equal(start[name], end[name]) for name in start)
    for name, value in start.items():
        assert torch.equal(value, begun[name])
        assert torch.allclose(middle[name], (value + end[name]) / 2, atol=1e-6)


def test_where_the_tokenizer_learns_all_is_followed(chain: Path, tmp_path: Path) -> None:
    live = {"training.freeze_tokenizer": False, "training.codes.epochs": 1, "quantizer.min_perplexity": 0.0}
    assert "learned_share" not in trained(chain, tmp_path, **live).report
    assert refit_config(tmp_path).training.codes.learned_share == 1.0
    with pytest.raises(ConfigError, match=r"training\.codes\.learned_share needs training\.freeze_tokenizer"):
        load_config(overrides=live | {"training.codes.learned_share": 0.5})


@pytest.mark.parametrize("share", [-0.1, 1.5])
def test_no_share_lies_outside_0_and_1(share: float) -> None:
    with pytest.raises(ConfigError, match=r"training\.codes\.learned_share must lie in \[0, 1\]"):
        load_config(overrides={"training.codes.learned_share": share})


def test_a_refit_follows_as_much(chain: Path, tmp_path: Path) -> None:
    given = {"training.codes.learned_share": 0.25, "training.codes.epochs": 1}
    trained(chain, tmp_path / "first", **given)
    config = refit_config(tmp_path / "first")
    assert config.training.codes.learned_share == 0.25
    again = train(config, Dataset.open(chain), tmp_path / "again", bars=False)
    assert again.report["learned_share"] == 0.25


def test_nothing_is_chosen_without_validation(chain: Path, tmp_path: Path) -> None:
    blind = {
        "training.with_validation": True,
        "training.tower.stop_after": 1,
        "training.codes.stop_after": 1,
    }
    with pytest.raises(ConfigError, match="the share of what the codes learned"):
        trained(chain, tmp_path, **blind)
