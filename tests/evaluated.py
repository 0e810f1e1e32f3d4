"""What `sparcode-es evaluate --json` prints, made up. Not a test module."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sparcode_es.report.evaluation import METRICS


def printed(model: str, value: float, **other: Any) -> dict[str, Any]:
    """Every metric is `value`; in the slice of long histories half of it."""
    metrics = {view: dict.fromkeys(METRICS, value) for view in ("all", "unseen")}
    less = {view: dict.fromkeys(METRICS, value / 2) for view in ("all", "unseen")}
    sliced = [{"low": 1, "high": 5, "cases": 6, **metrics}, {"low": 6, "high": 9, "cases": 4, **less}]
    what = {"model": model, "data": "shop", "data_hash": "ab12", "split": "test", "convention": "standard", "cases": 10}
    return what | metrics | {"slices": {"history": sliced, "popularity": sliced[:1]}} | other


def write_evaluation(file: Path, *arguments: Any, **other: Any) -> Path:
    file.write_text(json.dumps(printed(*arguments, **other)))
    return file
