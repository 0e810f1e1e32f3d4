"""A benchmark's files: JSON with the environment, a Markdown table, and a picture."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import altair as alt
import click
from environment import command_line, describe_environment, environment_line
from measuring import Measured, origins
from systems import SMALL_NOTE, Bench

from sparcode_es.files import atomic_write


def markdown_table(columns: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first column is text, the others are aligned to the right."""
    head = [f"| {' | '.join(columns)} |", "|---|" + "---:|" * (len(columns) - 1)]
    return "\n".join([*head, *(f"| {' | '.join(line)} |" for line in lines)])


def metric_name(metric: str) -> str:
    """`recall@50` → `R@50`."""
    name, _, k = metric.partition("@")
    return f"{ {'precision': 'P', 'recall': 'R', 'ndcg': 'N'}[name] }@{k}".replace(" ", "")


def comparison_columns(metrics: Sequence[str]) -> list[str]:
    """The columns of `measuring.comparison_lines`."""
    return ["system", "view", *(f"{metric_name(m)} {whose}" for m in metrics for whose in ("ours", "paper"))]


def write_report(
    bench: Bench,
    name: str,
    title: str,
    body: str,
    result: dict[str, Any],
    chart: alt.TopLevelMixin | None,
    measured: Sequence[Measured] = (),
) -> None:
    """Write NAME-DATA[-no-preset][-LABEL][-first-N][-small].json, .md and .png into `bench.out`, and print the Markdown.

    measured: whose origins are told.
    """
    first = "" if bench.first_targets is None else f"first-{bench.first_targets}"
    recipe = ["" if bench.preset else "no-preset", bench.label, first, "small" if bench.small else ""]
    stem = "-".join([name, bench.dataset.name, *filter(None, recipe)])
    environment = describe_environment()
    head = {
        "benchmark": name,
        "data": bench.dataset.name,
        "preset": bench.preset,
        "scale": bench.scale,
        "seeds": list(bench.seeds),
        "settings": dict(bench.settings),
        "test_cases": len(bench.cases),
        "test_targets": int(bench.measured_targets.sum()),
        "environment": environment,
    }
    parts = [f"# {title}", _provenance(bench), body]
    parts.append(origins(measured) if measured else f"Measured on {environment_line(environment)}.")
    if bench.small:
        parts.insert(2, SMALL_NOTE)
    if chart is not None:
        parts.append(f"![{title}]({stem}.png)")
    write_files(bench.out, stem, "\n\n".join(parts) + "\n", {**head, **result}, chart)


def write_files(out: Path, stem: str, text: str, result: dict[str, Any], chart: alt.TopLevelMixin | None) -> None:
    """Write STEM.json, .md and, with a chart, .png into `out`, and print the Markdown."""
    out.mkdir(parents=True, exist_ok=True)
    for suffix, content in ((".json", json.dumps(result, indent=1) + "\n"), (".md", text)):
        with atomic_write(out / f"{stem}{suffix}", "w") as file:
            file.write(content)
    if chart is not None:
        with atomic_write(out / f"{stem}.png") as file:
            chart.save(file, format="png", scale_factor=2)
    click.echo(text)


def _provenance(bench: Bench) -> str:
    seeds = ", ".join(map(str, bench.seeds))
    recipe = f"preset {bench.preset}" if bench.preset else "no preset"
    recipe += "".join(f", {key} = {json.dumps(value)}" for key, value in bench.settings.items())
    return (
        f"`{command_line()}`\n\nData {bench.dataset.name} ({bench.dataset.num_users:,} users, {bench.dataset.num_items:,} items, "
        f"{bench.asked}), {recipe}, seeds {seeds}. Per cent, mean ± standard deviation of the "
        "seeds, test split. `all`: every item ranked; `unseen`: items of the history left out."
    )
