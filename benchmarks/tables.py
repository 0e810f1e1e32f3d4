"""The one way from rows to a table: train what is missing, measure, write."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click
from measuring import Measured, comparison_lines, measure_row
from pictures import OURS, PAPER, comparison
from report import comparison_columns, markdown_table, metric_name, write_report
from systems import Bench, Row

from sparcode_es.evaluation.ranking import VIEWS


def make_table(bench: Bench, name: str, title: str, rows: Sequence[Row], metrics: Sequence[str], paper_on: str) -> None:
    """Measure the rows on the test split and write table NAME. paper_on: the data that the paper's figures are from."""
    measured = measure_rows(bench, rows)
    note = (
        f"The paper's figures are from {paper_on}; compare the order of systems, and figures only on the same data. SparCode's "
        "rows are the preset's but for what the row says: with what it remembers, item codes and lifts, where the preset has it; "
        "what each row changes stands in the JSON."
    )
    body = markdown_table(comparison_columns(metrics), comparison_lines(measured, rows, metrics)) + "\n\n" + note
    found = [
        {"name": row.name, "model": row.model, "overrides": dict(row.overrides), "paper_per_cent": dict(row.paper)}
        | system.as_json()
        for row, system in zip(rows, measured, strict=True)
    ]
    chart = comparison(
        _records(rows, measured, metrics),
        metrics,
        title,
        f"ours: {bench.told}, every item ranked; paper: {paper_on}",
    )
    write_report(bench, name, title, body, {"paper_on": paper_on, "rows": found}, chart, measured)


def measure_rows(bench: Bench, rows: Sequence[Row]) -> list[Measured]:
    """Train what is missing and measure every row on the test split."""
    measured = []
    for row in rows:
        click.echo(f"{row.label}: training what is missing, then measuring", err=True)
        measured.append(measure_row(bench, row))
    return measured


def quality_table(measured: Sequence[Measured], metrics: Sequence[str]) -> str:
    """Every system in both views."""
    lines = [[found.label, view, *(found.cell(view, m) for m in metrics)] for found in measured for view in VIEWS]
    return markdown_table(["system", "view", *map(metric_name, metrics)], lines)


def records_of_ours(measured: Sequence[Measured], metrics: Sequence[str], view: str = "all") -> list[dict[str, Any]]:
    """For `pictures.comparison`: our figures in one view."""
    return [
        {"system": s.label, "metric": m, "whose": OURS, "value": s.mean(view, m), "spread": s.spread(view, m)}
        for s in measured
        for m in metrics
    ]


def _records(rows: Sequence[Row], measured: Sequence[Measured], metrics: Sequence[str]) -> list[dict[str, Any]]:
    printed = [
        {"system": row.label, "metric": m, "whose": PAPER, "value": row.paper[m], "spread": 0.0}
        for row in rows
        for m in metrics
        if m in row.paper
    ]
    return records_of_ours(measured, metrics) + printed
