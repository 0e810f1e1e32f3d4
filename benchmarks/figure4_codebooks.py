"""Figure 4: how many codebooks (M), and how large (N).

python benchmarks/figure4_codebooks.py --data data/ml-100k --preset ml-100k --seeds 0 --scale small --runs runs/small
"""

from __future__ import annotations

from typing import Any

import altair as alt
import click
import paper
from command import BenchCommand
from grids import GridPoint, measure_grid, quality_columns, quality_lines, records_of
from measuring import Measured
from options import bench_options
from pictures import curves
from report import markdown_table, write_report
from systems import CODES_ONLY, HARD_CODES, WEIGHTED_CODES, Bench

METRICS = ("recall@50", "ndcg@50")
SIZES, SMALL_SIZES = (64, 128, 256, 512, 1024), (64, 256)
SERIES: dict[str, dict[str, Any]] = {
    "M = 1, one code a token": {**HARD_CODES, "quantizer.codebooks": 1},
    "M = 2, one code a token": {**HARD_CODES, "quantizer.codebooks": 2},
    "M = 1, 8 weighted codes a token": WEIGHTED_CODES,
}
"""The paper's two, and ours."""


@click.command(cls=BenchCommand)
@bench_options
def main(bench: Bench) -> None:
    """Figure 4: M of 1 and 2, N of 64 to 1,024, one code a token and several; R and N @50."""
    sizes = SMALL_SIZES if bench.small else SIZES
    points = [
        GridPoint(series, size, {**CODES_ONLY, **settings, "quantizer.codes": size})
        for series, settings in SERIES.items()
        for size in sizes
    ]
    measured = measure_grid(bench, points)
    body = markdown_table(quality_columns("N", METRICS), quality_lines(points, measured, METRICS))
    gains = {series: _gains(points, measured, series) for series in SERIES}
    body += f"\n\n{_beside_the_paper(gains, sizes)}"
    title = "Figure 4: number and size of codebooks"
    x = alt.X(
        "x:Q",
        title="N, codes a codebook",
        scale=alt.Scale(type="log", base=2, nice=False, padding=25),
        axis=alt.Axis(values=list(sizes)),
    )
    chart = curves(
        records_of(points, measured, METRICS), METRICS, x, title, f"{bench.told}, test split, every item ranked"
    )
    result = {
        "gain_of_the_largest_n_per_cent": gains,
        "paper_gain_64_to_1024_per_cent": paper.FIGURE_4_GAINS,
        "paper_says": paper.FIGURE_4_SAYS,
        "points": [point.as_json() | found.as_json() for point, found in zip(points, measured, strict=True)],
    }
    write_report(bench, "figure4", title, body, result, chart, measured)


def _gains(points: list[GridPoint], measured: list[Measured], series: str) -> dict[str, float]:
    """What the largest N of a series gains over the smallest, per cent of the latter."""
    own = [found for point, found in zip(points, measured, strict=True) if point.series == series]
    return {m: round(100 * (own[-1].mean("all", m) / max(own[0].mean("all", m), 1e-9) - 1), 2) for m in METRICS}


def _beside_the_paper(gains: dict[str, dict[str, float]], sizes: tuple[int, ...]) -> str:
    """The relative gains, the paper's beside ours."""
    printed = dict(zip(SERIES, (paper.FIGURE_4_GAINS[1], paper.FIGURE_4_GAINS[2], None), strict=True))
    lines = []
    for series, gain in gains.items():
        theirs = printed[series]
        pairs = [(f"{gain[m]:+.2f} %", f"{theirs[m]:+.2f} %" if theirs else "–") for m in METRICS]
        lines.append([series, *(cell for pair in pairs for cell in pair)])
    columns = ["gain of the largest N", *(f"{m} {whose}" for m in METRICS for whose in ("ours", "paper"))]
    return (
        f"Relative gain of N = {sizes[-1]:,} over N = {sizes[0]}; the paper's (Deezer, §4.3.2) of N = 1,024 over N = 64. It also "
        f"says: {paper.FIGURE_4_SAYS}.\n\n{markdown_table(columns, lines)}"
    )


if __name__ == "__main__":
    main()
