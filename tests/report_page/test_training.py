"""A training's folder, read from its log and configuration alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from sparcode_es.errors import ConfigError, DataError
from sparcode_es.report.facts import QualityRow
from sparcode_es.report.training import quality_of, read_training
from training_folder import LOG, write


def test_a_whole_training(tmp_path: Path) -> None:
    found = read_training(write(tmp_path / "run", LOG))
    assert (found.model, found.metric, found.finished) == ("sparcode", "ndcg@50", False)
    tower, codes = found.stages
    assert tower.losses == ((1, 3.0), (2, 2.5), (3, 2.0), (4, 1.5))
    assert tower.metrics == {"ndcg@50": ((2, 0.1), (4, 0.08)), "recall@50": ((2, 0.3), (4, 0.31))}
    assert (tower.best_epoch, tower.seconds, tower.perplexity) == (2, 6.5, ())
    assert (codes.best_epoch, codes.perplexity) == (1, ((1, 0.6),))
    assert found.weights["item_codes"] == ((0.0, 0.11), (2.0, 0.15), (12.0, 0.13))
    assert found.config == 'model = "sparcode"\n'
    quality = quality_of(found)
    assert quality is not None
    assert quality.rows == (
        QualityRow("two-tower", {"ndcg@50": 0.1, "recall@50": 0.3}),
        QualityRow("learned codes", {"ndcg@50": 0.11}),
        QualityRow("with item codes", {"ndcg@50": 0.15}),
        QualityRow("with item codes and memory", {"ndcg@50": 0.16}),
    )
    (tmp_path / "run" / "model.pt").touch()
    assert read_training(tmp_path / "run").finished


def test_another_metric_chooses(tmp_path: Path) -> None:
    config = 'model = "two_tower"\n[training]\nmetric = "recall@50"\n'
    found = read_training(write(tmp_path / "run", LOG[:6], config))
    assert found.stages[0].best_epoch == 4
    quality = quality_of(found)
    assert quality is not None
    assert quality.metric == "recall@50"
    assert [row.system for row in quality.rows] == ["two-tower"]


def test_nothing_was_validated(tmp_path: Path) -> None:
    records = [{"stage": "tower", "epoch": 1, "loss": 3.0}, {"stage": "model", "epoch": 1, "loss": None, "seconds": 1}]
    assert quality_of(read_training(write(tmp_path / "run", records))) is None
    (tmp_path / "run" / "log.jsonl").unlink()
    assert read_training(tmp_path / "run").stages == ()


@pytest.mark.parametrize("line", ["{", "[]", '"tower"', '{"epoch": 1}', '{"stage": 3}', "null"])
def test_a_damaged_log_is_said_with_its_line(tmp_path: Path, line: str) -> None:
    folder = write(tmp_path / "run", LOG[:2])
    with (folder / "log.jsonl").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(DataError, match=r"line 3 of .*log\.jsonl"):
        read_training(folder)


def test_odd_values_are_left_out(tmp_path: Path) -> None:
    records = [
        {"stage": "tower", "epoch": "x", "loss": 1.0},
        {"stage": "tower", "epoch": 1, "loss": "high", "ndcg@50": True},
        {"stage": "memory", "weight much": 1.0, "weight 1.0": 0.5},
    ]
    found = read_training(write(tmp_path / "run", records))
    assert found.stages[0].losses == ()
    assert found.stages[0].best_epoch is None
    assert found.weights == {"memory": ((1.0, 0.5),)}


def test_folders_that_are_none(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(DataError, match=r"no training's folder: it has no config\.toml"):
            read_training(folder)
    (tmp_path / "config.toml").write_bytes(b"\xff")
    with pytest.raises(DataError, match="cannot read"):
        read_training(tmp_path)
    with pytest.raises(ConfigError, match="not TOML"):
        read_training(write(tmp_path / "run", [], "model = \n"))
