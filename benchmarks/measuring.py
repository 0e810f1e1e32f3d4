"""Metrics of every test case, over seeds: what tables print and what tests of significance need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from systems import Bench, Row

from sparcode_es.data.dataset import ScoreFunction
from sparcode_es.evaluation.metrics import convention_of, measure_ranks
from sparcode_es.evaluation.ranking import VIEWS, rank_cases

CaseMetrics = dict[str, dict[str, np.ndarray]]
"""View → metric → float64 [n], one number a case."""


def measure(bench: Bench, scores: ScoreFunction) -> CaseMetrics:
    """Rank every item for every test case, in both views, by the data folder's convention."""
    cases, convention = bench.cases, convention_of(bench.dataset)
    found = rank_cases(scores, cases, bench.dataset.num_items)
    return {
        view: measure_ranks(found.ranks[view], found.ties[view], cases.target_offsets, convention=convention)
        for view in VIEWS
    }


@dataclass(frozen=True)
class Measured:
    """One system on the test cases, once a seed."""

    label: str
    runs: tuple[CaseMetrics, ...]
    reports: tuple[dict[str, Any], ...] = ()
    """What the trainings said."""

    def by_case(self, view: str, metric: str) -> np.ndarray:
        """[seeds, n]."""
        return np.stack([run[view][metric] for run in self.runs])

    def of_seeds(self, view: str, metric: str) -> np.ndarray:
        """Means over the cases, per cent, [seeds]."""
        means: np.ndarray = 100 * self.by_case(view, metric).mean(1)
        return means

    def mean(self, view: str, metric: str) -> float:
        """Per cent, over seeds and cases."""
        return float(self.of_seeds(view, metric).mean())

    def spread(self, view: str, metric: str) -> float:
        """Standard deviation over seeds, per cent points."""
        return float(self.of_seeds(view, metric).std())

    def cell(self, view: str, metric: str) -> str:
        """`12.34 ± 0.56`; the mean alone for one seed."""
        spread = f" ± {self.spread(view, metric):.2f}" if len(self.runs) > 1 else ""
        return f"{self.mean(view, metric):.2f}{spread}"

    def as_json(self) -> dict[str, Any]:
        """View → metric → per cent of each seed."""
        metrics = self.runs[0][VIEWS[0]]
        found = {view: {m: self.of_seeds(view, m).round(4).tolist() for m in metrics} for view in VIEWS}
        return {"label": self.label, "per_cent_of_seeds": found, "training": list(self.reports)}


def measure_row(bench: Bench, row: Row) -> Measured:
    """Train a row's system for every seed, and measure it on the test cases."""
    runs, reports = [], []
    for seed in bench.seeds:
        trained = bench.train(row.model, row.overrides, seed)
        reports.append(trained.report)
        runs.append(measure(bench, bench.load(trained).case_scores(bench.cases)))
    return Measured(row.label, tuple(runs), tuple(reports))


def comparison_lines(measured: Sequence[Measured], rows: Sequence[Row], metrics: Sequence[str]) -> list[list[str]]:
    """Cells of a table: system, view, and for each metric ours and the paper's, which stands in the view `all`."""
    lines = []
    for found, row in zip(measured, rows, strict=True):
        for view in VIEWS:
            printed = row.paper if view == "all" else {}
            cells = [
                cell
                for metric in metrics
                for cell in (found.cell(view, metric), f"{printed[metric]:.2f}" if metric in printed else "–")
            ]
            lines.append([found.label, view, *cells])
    return lines
