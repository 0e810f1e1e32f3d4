"""SparCode against its two-tower, and against the controls that would explain a gain, with a paired test over users.

    python benchmarks/quality.py --data data/beauty --preset beauty --seeds 0,1,2 --runs runs/beauty

Hyper-parameters were chosen on validation; this reads the test split once, at the end. `--own-epochs` adds a two-tower that is
trained as long as is best for itself, where that is longer than what SparCode begins from.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import click
from command import BenchCommand
from item_codes import (
    WITHOUT_ITEM_CODES,
    WITHOUT_REPEAT,
    WITHOUT_RIDGE,
    beside_tower,
    leave_out,
    leave_out_repeat,
    leave_out_ridge,
)
from measuring import Measured, Run, Scored, measure_trained, measure_variant
from options import bench_options
from pictures import comparison
from report import markdown_table, metric_name, write_report
from systems import Bench
from tables import quality_table, records_of_ours

from sparcode_es.baselines.two_tower import TwoTower
from sparcode_es.data.dataset import Dataset, ScoreFunction
from sparcode_es.evaluation.ranking import VIEWS
from sparcode_es.evaluation.significance import PairedTest, paired_test
from sparcode_es.models.sparcode import SparCode
from sparcode_es.training.memory import comes_back

METRICS = ("recall@10", "ndcg@10", "recall@50", "ndcg@50")
SPARCODE, TWIN = "SparCode", "two-tower"
REFITTED = ", trained on validation too"
OWN = "two-tower, trained as long as is best for itself"
UNTIED, WITH_ITEM_CODES = "two-tower, untied items (control)", "two-tower + last-item codes (control)"
"""The names stand in published results; the item codes are SparCode's, of as many latest items as the configuration says."""
PAIRS = (
    *((SPARCODE, other) for other in (TWIN, OWN, UNTIED, WITH_ITEM_CODES, WITHOUT_RIDGE, WITHOUT_REPEAT)),
    (SPARCODE + REFITTED, TWIN + REFITTED),
)
"""Systems that are tested against each other."""


def measure_seed(
    bench: Bench, seed: int, with_untied: bool, with_refit: bool, own_epochs: int | None
) -> dict[str, Run]:
    """System → what it gave for the test cases."""

    def trained() -> SparCode:
        found = bench.model("sparcode", {}, seed)
        assert isinstance(found, SparCode)
        return found

    def twin() -> TwoTower:
        found = bench.model("two_tower", {}, seed)
        assert isinstance(found, TwoTower)
        return found

    def without(leave: Callable[[SparCode, Dataset], float]) -> tuple[ScoreFunction, dict[str, float]]:
        found = trained()
        weight = leave(found, bench.dataset)
        return found.case_scores(bench.cases), {"memory_weight": weight}

    def refitted(tower: bool) -> ScoreFunction:
        again = bench.refit({}, seed)
        path = again.two_tower_path if tower else again.model_path
        assert path is not None
        return bench.read(path).case_scores(bench.cases)

    def kept(name: str, scored: Scored) -> Run:
        return measure_variant(bench, "sparcode", {}, seed, name, scored)

    runs = {SPARCODE: measure_trained(bench, "sparcode", {}, seed)}
    item_codes = bench.config("sparcode", {}, seed).item_codes
    if item_codes.latest:
        runs[WITHOUT_ITEM_CODES] = kept("codes-alone", lambda: without(leave_out))
        runs[WITHOUT_RIDGE] = kept("no-ridge", lambda: without(leave_out_ridge))
        if item_codes.repeat_latest and comes_back(bench.dataset.cases("valid")):
            runs[WITHOUT_REPEAT] = kept("no-repeat", lambda: without(leave_out_repeat))
        runs[WITH_ITEM_CODES] = kept(
            "tower-item-codes", lambda: beside_tower(twin(), trained(), bench.dataset, bench.cases)
        )
    runs[TWIN] = measure_trained(bench, "two_tower", {}, seed)
    if own_epochs is not None:
        own = replace(bench, settings={**bench.settings, "training.tower.epochs": own_epochs})
        runs[OWN] = measure_trained(own, "two_tower", {}, seed)
    if with_untied:
        runs[UNTIED] = measure_trained(bench, "two_tower", {"two_tower.untied_items": True}, seed)
    if with_refit:
        runs[SPARCODE + REFITTED] = kept("refit", lambda: (refitted(tower=False), {}))
        runs[TWIN + REFITTED] = kept("refit-tower", lambda: (refitted(tower=True), {}))
    runs["popularity"] = measure_trained(bench, "popularity", {}, seed)
    return runs


def tests_against(sparcode: Measured, other: Measured) -> dict[str, dict[str, PairedTest]]:
    """View → metric → the paired test of SparCode against another system."""
    return {
        view: {m: paired_test(sparcode.by_case(view, m), other.by_case(view, m)) for m in METRICS} for view in VIEWS
    }


def difference_table(tests: dict[str, dict[str, dict[str, PairedTest]]]) -> str:
    """The differences and their p, by what is compared, and how many tests they are."""
    lines = [
        [difference, view, *(f"{100 * t.difference:+.2f} (p {probability(t.p)})" for t in by_metric.values())]
        for difference, by_view in tests.items()
        for view, by_metric in by_view.items()
    ]
    table = markdown_table(["difference", "view", *map(metric_name, METRICS)], lines)
    n = len(lines) * len(METRICS)
    return (
        f"Two-sided paired t-test over the users of the test split, seeds averaged first; per cent points and p. Each p is "
        f"that of one test, not corrected for their number: {n} tests are in this table, and a p below {0.05 / n:.2g} "
        f"stands at the level of 0.05 for all of them together (Bonferroni).\n\n{table}"
    )


def probability(p: float) -> str:
    """A p as text; one too small for float64 is not 0."""
    return f"{p:.1g}" if p else "< 1e-300"


@click.command(cls=BenchCommand)
@bench_options
@click.option("--untied/--no-untied", default=True, help="Train the control with untied items, a second tower a seed.")
@click.option("--refit/--no-refit", default=False, help="Rows of both, trained again on the validation events too.")
@click.option(
    "--own-epochs",
    type=click.IntRange(1),
    metavar="N",
    help="A further two-tower, trained N epochs: as many as validation wants of one that no codes begin from.",
)
@click.option(
    "--first-targets",
    type=click.IntRange(1),
    metavar="N",
    help="Measure only the N earliest targets of each case, where a split asks for several.",
)
def main(bench: Bench, untied: bool, refit: bool, own_epochs: int | None, first_targets: int | None) -> None:
    """SparCode, its two-tower twin, the controls and popularity on the test split, and p of SparCode against each."""
    bench = replace(bench, first_targets=first_targets)
    found = [measure_seed(bench, seed, untied, refit, own_epochs) for seed in bench.seeds]
    measured = {name: Measured(name, tuple(runs[name] for runs in found)) for name in found[0]}
    tests = {
        f"{ours} − {other}": tests_against(measured[ours], measured[other])
        for ours, other in PAIRS
        if other in measured
    }
    title = f"Quality on {bench.dataset.name}"
    body = f"{quality_table(list(measured.values()), METRICS)}\n\n{difference_table(tests)}"
    if own_epochs is not None:
        body += f"\n\n“{OWN}”: {own_epochs} epochs, what `--own-epochs` says."
    chart = comparison(
        records_of_ours(list(measured.values()), METRICS),
        METRICS,
        title,
        f"{bench.told}, test split, every item ranked",
    )
    result = {
        "training": measured[SPARCODE].reports,
        "own_epochs": own_epochs,
        "first_targets": first_targets,
        "systems": [system.as_json() for system in measured.values()],
        "paired_tests": {
            difference: {view: {m: vars(t) for m, t in by_metric.items()} for view, by_metric in by_view.items()}
            for difference, by_view in tests.items()
        },
    }
    write_report(bench, "quality", title, body, result, chart, list(measured.values()))


if __name__ == "__main__":
    main()
