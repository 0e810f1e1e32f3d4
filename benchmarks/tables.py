"""The one way from rows to a table: train what is missing, measure, write."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click
from measuring import Measured, comparison_lines, measure_row
from pictures import OURS, PAPER, comparison
from report import comparison_columns, markdown_table, write_report
from systems import Bench, Row


def make_table(bench: Bench, name: str, title: str, rows: Sequence[Row], metrics: Sequence[str], paper_on: str) -> None:
    """Measure the rows on the test split and write table NAME. paper_on: the data that the paper's figures are from."""
    measured = []
    for row in rows:
        click.echo(f"{row.label}: training what is missing, then measuring", err=True)
        measured.append(measure_row(bench, row))
    note = f"The paper's figures are from {paper_on}; compare the order of systems, and figures only on the same data."
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
        f"ours: {bench.dataset.name}, every item ranked; paper: {paper_on}",
    )
    write_report(bench, name, title, body, {"paper_on": paper_on, "rows": found}, chart)


def _records(rows: Sequence[Row], measured: Sequence[Measured], metrics: Sequence[str]) -> list[dict[str, Any]]:
    records = []
    for row, system in zip(rows, measured, strict=True):
        for metric in metrics:
            value, spread = system.mean("all", metric), system.spread("all", metric)
            records.append({"system": row.label, "metric": metric, "whose": OURS, "value": value, "spread": spread})
            if metric in row.paper:
                printed = row.paper[metric]
                records.append({"system": row.label, "metric": metric, "whose": PAPER, "value": printed, "spread": 0.0})
    return records
