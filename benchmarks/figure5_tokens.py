"""Figure 5: how many tokens a user becomes (K_u).

python benchmarks/figure5_tokens.py --data data/ml-100k --preset ml-100k --seeds 0 --scale small --runs runs/small
"""

from __future__ import annotations

import altair as alt
import click
import paper
from command import BenchCommand
from grids import GridPoint, measure_grid, quality_columns, quality_lines, records_of
from options import bench_options
from pictures import curves
from report import markdown_table, write_report
from systems import CODES_ONLY, HARD_CODES, WEIGHTED_CODES, Bench

METRICS = ("recall@50", "ndcg@50")
TOKENS, SMALL_TOKENS = (1, 2, 4, 6, 8, 10), (1, 2, 4)
SERIES = {"one code a token": HARD_CODES, "8 weighted codes a token": WEIGHTED_CODES}


@click.command(cls=BenchCommand)
@bench_options
def main(bench: Bench) -> None:
    """Figure 5: K_u of 1 to 10, with one code a token as in the paper and with several; R and N @50."""
    points = [
        GridPoint(series, tokens, {**CODES_ONLY, **settings, "tokenizer.tokens": tokens})
        for series, settings in SERIES.items()
        for tokens in (SMALL_TOKENS if bench.small else TOKENS)
    ]
    measured = measure_grid(bench, points)
    title = "Figure 5: tokens a user, K_u"
    body = markdown_table(quality_columns("K_u", METRICS), quality_lines(points, measured, METRICS))
    body += f"\n\nThe paper's Figure 5 prints no numbers. It says: {paper.FIGURE_5_SAYS}."
    x = alt.X(
        "x:Q",
        title="K_u, tokens a user",
        scale=alt.Scale(nice=False, padding=25, zero=False),
        axis=alt.Axis(values=sorted({int(p.x) for p in points}), format="d"),
    )
    chart = curves(
        records_of(points, measured, METRICS), METRICS, x, title, f"{bench.told}, test split, every item ranked"
    )
    found = [point.as_json() | system.as_json() for point, system in zip(points, measured, strict=True)]
    write_report(bench, "figure5", title, body, {"paper_says": paper.FIGURE_5_SAYS, "points": found}, chart, measured)


if __name__ == "__main__":
    main()
