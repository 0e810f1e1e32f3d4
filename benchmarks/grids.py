"""Grids of settings: one SparCode a point, towers shared, and their tables and curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from measuring import Measured, measure_row
from report import metric_name
from systems import Bench, Row

from sparcode_es.evaluation.ranking import VIEWS


@dataclass(frozen=True)
class GridPoint:
    """A place on a curve: the series it belongs to, its x, and what it changes in the preset."""

    series: str
    x: float
    overrides: dict[str, Any] = field(default_factory=dict)
    model: str = "sparcode"

    def as_json(self) -> dict[str, Any]:
        """What it is, without its figures."""
        return {"series": self.series, "x": self.x, "model": self.model, "overrides": self.overrides}


def measure_grid(bench: Bench, points: Sequence[GridPoint]) -> list[Measured]:
    """Train what is missing and measure every point."""
    return [
        measure_row(
            bench, Row(f"{point.series} {point.x}", f"{point.series}, {point.x:g}", point.model, point.overrides)
        )
        for point in points
    ]


def quality_columns(x: str, metrics: Sequence[str]) -> list[str]:
    """The columns of `quality_lines`."""
    return ["series", x, *(f"{metric_name(m)} {view}" for view in VIEWS for m in metrics)]


def quality_lines(points: Sequence[GridPoint], measured: Sequence[Measured], metrics: Sequence[str]) -> list[list[str]]:
    """A line a point: series, x, and its metrics in both views."""
    return [
        [point.series, f"{point.x:g}", *(found.cell(view, m) for view in VIEWS for m in metrics)]
        for point, found in zip(points, measured, strict=True)
    ]


def records_of(
    points: Sequence[GridPoint], measured: Sequence[Measured], metrics: Sequence[str]
) -> list[dict[str, Any]]:
    """For `pictures.curves`: the view `all`."""
    return [
        {"series": p.series, "x": p.x, "metric": m, "value": found.mean("all", m), "spread": found.spread("all", m)}
        for p, found in zip(points, measured, strict=True)
        for m in metrics
    ]
