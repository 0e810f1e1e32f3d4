"""Figure 6 (a, b): quality against the share of (code, item) scores that is kept.

python benchmarks/figure6_sparsity.py --data data/ml-100k --preset ml-100k --seeds 0 --scale small --runs runs/small
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import paper
from command import BenchCommand
from cuts import SMALL_SPARSITIES, SPARSITIES, artifact_scores, build
from measuring import Measured, measure_trained, measure_variant
from options import bench_options
from pictures import curves, kept_axis
from report import markdown_table, metric_name, write_report
from systems import Bench, changed

from sparcode_es.config import PostingsConfig
from sparcode_es.data.dataset import ScoreFunction
from sparcode_es.evaluation.ranking import VIEWS
from sparcode_es.models.sparcode import SparCode
from sparcode_es.postings.artifact import Artifact

METRICS = ("recall@50", "ndcg@50")
CODES = {"item_codes.latest": 0}
"""The codes of the quantizer alone: sparsity is defined over them."""
BY_BIAS, BY_CODE = "global bias after training (Eq. 15)", "best n of each code"
BY_TRAFFIC = "what users' best items are made of (--cut traffic)"
TRAINED, TRAINED_BY_TRAFFIC = "trained at that sparsity, then Eq. 15", "trained at that sparsity, then --cut traffic"
FORESEEN = ", of those who ask"
"""Behind the name of a cut by traffic: as `postings build` and then `evaluate` have it. Without it users ask with an event more
than the cut saw."""
TWIN = "two-tower, dot product"


@dataclass(frozen=True)
class Cut:
    """One way to come to a sparsity."""

    series: str
    sparsity: float
    overrides: dict[str, Any]
    config: PostingsConfig
    foreseen: bool = False
    """See `build`."""


def cuts(bench: Bench, codes: dict[str, Any], trained: bool, sparsities: Sequence[float] | None = None) -> list[Cut]:
    """Every point of the figure. codes: what the models change in the preset; trained: with the series that train anew;
    sparsities: those of the points, None for all."""
    wanted = sparsities or (SMALL_SPARSITIES if bench.small else SPARSITIES)
    found = [Cut(BY_BIAS, s, codes, PostingsConfig(sparsity=s)) for s in wanted]
    for s in (s for s in wanted if s >= 0.8):
        most = max(1, round((1 - s) * bench.dataset.num_items))
        found.append(Cut(BY_CODE, s, codes, PostingsConfig(max_postings_per_code=most)))
    for s in (s for s in wanted if s >= 0.8):
        found += _by_traffic(BY_TRAFFIC, s, codes)
    for s in (s for s in wanted if trained and s in (0.9, 0.99, 0.998)):
        there = {**codes, "scorer.initial_sparsity": s}
        found.append(Cut(TRAINED, s, there, PostingsConfig(sparsity=s)))
        found += _by_traffic(TRAINED_BY_TRAFFIC, s, there)
    return found


def _by_traffic(series: str, sparsity: float, overrides: dict[str, Any]) -> list[Cut]:
    """By the traffic of before, and by that of the histories that ask."""
    config = PostingsConfig(sparsity=sparsity, cut="traffic")
    return [
        Cut(series, sparsity, overrides, config),
        Cut(series + FORESEEN, sparsity, overrides, config, foreseen=True),
    ]


def measure_cut(bench: Bench, cut: Cut) -> tuple[Measured, dict[str, float]]:
    """Metrics of every seed, and the postings' figures of §4.4, means over seeds."""

    def scored(seed: int) -> tuple[ScoreFunction, dict[str, float]]:
        model = bench.model("sparcode", cut.overrides, seed)
        assert isinstance(model, SparCode)
        with tempfile.TemporaryDirectory() as folder:
            artifact = build(bench, model, Path(folder) / "postings", cut.config, cut.foreseen)
            return artifact_scores(artifact), _size(artifact)

    settings = [f"{key}={value}" for key, value in changed(cut.config).items()]
    name = "-".join(["cut", *settings, *["foreseen"] * cut.foreseen])
    runs = [
        measure_variant(bench, "sparcode", cut.overrides, seed, name, functools.partial(scored, seed))
        for seed in bench.seeds
    ]
    found = Measured(cut.series, tuple(runs))
    return found, {key: float(np.mean([run.report[key] for run in runs])) for key in runs[0].report}


def _size(artifact: Artifact) -> dict[str, float]:
    manifest = artifact.manifest
    return {
        "sparsity": manifest.sparsity_of_stored_codes,
        "average_items": manifest.average_items_of_stored_codes,
        "items_without_postings": manifest.counts.items_without_postings,
    }


@click.command(cls=BenchCommand)
@bench_options
@click.option(
    "--item-codes/--no-item-codes", default=False, help="With the preset's item codes beside the codes that are cut."
)
@click.option("--trained/--no-trained", default=True, help="The series that train a model at each sparsity.")
@click.option(
    "--sparsities", help="Only these of 0 to 0.9995, commas between; a model is trained at 0.9, 0.99 and 0.998."
)
def main(bench: Bench, item_codes: bool, trained: bool, sparsities: str | None) -> None:
    """Figure 6 (a, b): the curve from 0 to 99.95 % sparsity: Eq. 15's bias, best n a code, what users need, training at it."""
    points = cuts(bench, {} if item_codes else CODES, trained, None if sparsities is None else _shares(sparsities))
    measured = [measure_cut(bench, cut) for cut in points]
    twin = Measured(TWIN, tuple(measure_trained(bench, "two_tower", {}, seed) for seed in bench.seeds))
    title = "Figure 6 (a, b): sparsity and quality" + (", item codes beside" if item_codes else "")
    lines = [_line(found, size) for found, size in [*measured, (twin, None)]]
    columns = ["series", "sparsity", "average items", "items without postings"]
    body = markdown_table([*columns, *(f"{metric_name(m)} {view}" for view in VIEWS for m in METRICS)], lines)
    beside = "Item codes are neither counted nor cut" if item_codes else "Without item codes"
    body += (
        "\n\nSparsity and average items are over the codes that are stored: all N for M = 1, the test users' for M = 2. "
        f"{beside}. The paper's Figure 6 prints no numbers. It says: {paper.FIGURE_6_SAYS}."
    )
    where = f"{bench.told}, test split, every item ranked; the right is sparser"
    chart = curves(_records(measured, twin), METRICS, kept_axis(), title, where, level=TWIN)
    found = [
        {"wanted_sparsity": cut.sparsity, "overrides": cut.overrides, **size} | system.as_json()
        for cut, (system, size) in zip(points, measured, strict=True)
    ]
    result = {"paper_says": paper.FIGURE_6_SAYS, "points": found, "two_tower": twin.as_json()}
    write_report(
        bench,
        "figure6-sparsity" + ("-item-codes" if item_codes else ""),
        title,
        body,
        result,
        chart,
        [twin, *(found for found, _ in measured)],
    )


def _shares(text: str) -> tuple[float, ...]:
    """`0,0.99` → (0.0, 0.99). Raises `click.UsageError`."""
    try:
        return tuple(SPARSITIES[SPARSITIES.index(float(share))] for share in text.split(","))
    except ValueError as error:
        known = ",".join(f"{share:g}" for share in SPARSITIES)
        raise click.UsageError(f"--sparsities takes some of {known}, not {text!r}") from error


def _line(found: Measured, size: dict[str, float] | None) -> list[str]:
    sizes = ["–"] * 3
    if size is not None:
        sizes = [
            f"{100 * size['sparsity']:.3f} %",
            f"{size['average_items']:.1f}",
            f"{size['items_without_postings']:.0f}",
        ]
    return [found.label, *sizes, *(found.cell(view, m) for view in VIEWS for m in METRICS)]


def _records(measured: list[tuple[Measured, dict[str, float]]], twin: Measured) -> list[dict[str, Any]]:
    kept = [(found, 100 * (1 - size["sparsity"])) for found, size in measured] + [(twin, 100.0)]
    return [
        {
            "series": found.label,
            "kept": share,
            "metric": m,
            "value": found.mean("all", m),
            "spread": found.spread("all", m),
        }
        for found, share in kept
        for m in METRICS
        if share > 0
    ]


if __name__ == "__main__":
    main()
