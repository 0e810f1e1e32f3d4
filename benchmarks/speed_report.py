"""SPEED.md and its pictures, from the JSON files of the speed benchmarks.

python benchmarks/speed_report.py
"""

from __future__ import annotations

import json
from pathlib import Path

import click
from command import BenchCommand
from retrieval.charts import charts
from retrieval.page import page
from retrieval.results import Results

from sparcode_es.files import atomic_write

HERE = Path(__file__).parent


@click.command(
    cls=BenchCommand, epilog="\b\nExample:\n  python benchmarks/speed_report.py --results benchmarks/results"
)
@click.option("--results", type=click.Path(path_type=Path), default=HERE / "results", show_default=True)
@click.option("--reasons", type=click.Path(path_type=Path), default=HERE / "speed-reasons.json", show_default=True,
              help="A JSON object: goal → why it is not reached.")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path), default=HERE / "SPEED.md", show_default=True)
def main(results: Path, reasons: Path, out: Path) -> None:
    """Write SPEED.md, and the pictures beside the results."""
    found = Results(results)
    if not found.records:
        raise click.ClickException(f"there is no speed-*.json in {results}; run benchmarks/speed_retrieval.py first")
    pictures = charts(found)
    for name, chart in pictures.items():
        with atomic_write(results / f"{name}.png") as file:
            chart.save(file, format="png", scale_factor=2)
    why = json.loads(reasons.read_text(encoding="utf-8")) if reasons.exists() else {}
    with atomic_write(out, "w") as file:
        file.write(page(found, list(pictures), why))
    click.echo(out)


if __name__ == "__main__":
    main()
