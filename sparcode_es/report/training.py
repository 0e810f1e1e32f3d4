"""What a training's folder tells: `log.jsonl` and `config.toml`, read without torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sparcode_es.config import TrainingConfig, parse_toml
from sparcode_es.errors import DataError
from sparcode_es.files import parse_json
from sparcode_es.report.facts import Points, Quality, QualityRow, StageCurve, Training

MEMORIES = {
    "share": "learned codes, as far as they are followed",
    "item_codes": "with item codes",
    "ridge": "with item codes and ridge weights",
    "repeat": "with repeat codes",
    "memory": "with item codes and memory",
}
"""What is weighed after the stages, in that order, and the system that it makes."""
SYSTEMS = {"tower": "two-tower", "codes": "learned codes", "model": "whole model"}
WEIGHT = "weight "
NO_METRIC = {"stage", "epoch", "loss", "seconds", "codes_used", "perplexity"}

Record = dict[str, Any]


def read_training(folder: Path) -> Training:
    """A training's folder. Raises `DataError` for a folder that is none and for a damaged log, with the line."""
    config = _text(folder, "config.toml")
    records = [
        _record(folder, number, line) for number, line in enumerate(_log(folder).splitlines(), 1) if line.strip()
    ]
    tables = parse_toml(config, str(folder / "config.toml"))
    given = tables.get("training")
    metric = str(given.get("metric", TrainingConfig().metric)) if isinstance(given, dict) else TrainingConfig().metric
    model = str(tables.get("model", "sparcode"))
    names = dict.fromkeys(record["stage"] for record in records if _is_number(record.get("epoch")))
    stages = tuple(_stage(name, [each for each in records if each["stage"] == name], metric) for name in names)
    weights = {record["stage"]: _weights(record, metric) for record in records if record["stage"] in MEMORIES}
    finished = (folder / ("two_tower.pt" if model == "two_tower" else "model.pt")).exists()
    return Training(str(folder), model, metric, finished, stages, weights, config)


def quality_of(training: Training) -> Quality | None:
    """What validation said of each system, at its best epoch or weight; None where nothing was validated."""
    rows = []
    for stage in training.stages:
        if stage.best_epoch is not None:
            found = {name: dict(points).get(stage.best_epoch) for name, points in stage.metrics.items()}
            metrics = {name: value for name, value in found.items() if value is not None}
            rows.append(QualityRow(SYSTEMS.get(stage.name, stage.name), metrics))
    for name, points in sorted(training.weights.items(), key=lambda each: list(MEMORIES).index(each[0])):
        if points:
            rows.append(QualityRow(MEMORIES[name], {training.metric: max(value for _, value in points)}))
    return Quality(training.metric, tuple(rows)) if rows else None


def _text(folder: Path, name: str) -> str:
    try:
        return (folder / name).read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(
            f"{folder} is no training's folder: it has no {name}; give the --out of `sparcode-es train` as --training"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {folder / name}: {error}") from error


def _log(folder: Path) -> str:
    """The log; empty where the model has nothing to learn, and so none was written."""
    return _text(folder, "log.jsonl") if (folder / "log.jsonl").exists() else ""


def _record(folder: Path, number: int, line: str) -> Record:
    try:
        record = parse_json(line)
        if isinstance(record, dict) and isinstance(record["stage"], str):
            return record
    except (ValueError, KeyError):
        pass
    raise DataError(f"line {number} of {folder / 'log.jsonl'} is no record of a training; remove that line")


def _stage(name: str, records: Sequence[Record], metric: str) -> StageCurve:
    """The last record of each epoch counts: a killed run may have written one twice."""
    epochs = {int(record["epoch"]): record for record in records if _is_number(record.get("epoch"))}
    rows = [(epoch, epochs[epoch]) for epoch in sorted(epochs)]
    names = dict.fromkeys(key for _, row in rows for key in row if key not in NO_METRIC)
    metrics = {key: points for key in names if (points := _points(rows, key))}
    chosen = metrics.get(metric, ())
    return StageCurve(
        name=name,
        losses=_points(rows, "loss"),
        metrics=metrics,
        perplexity=_points(rows, "perplexity"),
        best_epoch=int(max(chosen, key=lambda point: point[1])[0]) if chosen else None,
        seconds=sum(value for _, value in _points(rows, "seconds")),
    )


def _points(rows: Sequence[tuple[int, Record]], key: str) -> Points:
    return tuple((float(epoch), float(row[key])) for epoch, row in rows if _is_number(row.get(key)))


def _weights(record: Record, metric: str) -> Points:
    """Each weight that was tried, and the metric there; of shares, which the mean of both views chose, the one kept."""
    if _is_number(record.get("kept")) and _is_number(record.get(metric)):
        return ((float(record["kept"]), float(record[metric])),)
    pairs = [(_number(key.removeprefix(WEIGHT)), value) for key, value in record.items() if key.startswith(WEIGHT)]
    return tuple(sorted((weight, float(value)) for weight, value in pairs if weight is not None and _is_number(value)))


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
