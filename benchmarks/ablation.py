"""What each part of the recipe is worth: the whole, and each part taken away or done as the paper does it.

python benchmarks/ablation.py --data data/beauty --preset beauty --seeds 0 --runs runs/beauty
"""

from __future__ import annotations

from typing import Any

import click
from command import BenchCommand
from options import bench_options, rows_option
from pictures import comparison
from report import write_report
from systems import CODES_ONLY, HARD_CODES, Bench, Row, chosen
from tables import measure_rows, quality_table, records_of_ours

METRICS = ("recall@10", "ndcg@10", "recall@50", "ndcg@50")
LEARNED = CODES_ONLY
"""Where nothing is remembered, so that what is learned can be seen."""
END_TO_END = {**LEARNED, **HARD_CODES, "training.freeze_tokenizer": False}
FROM_SCRATCH = {
    **END_TO_END,
    "scorer.residual": False,
    "scorer.initial_sparsity": 0.0,
    "scorer.free_codes": False,
    "scorer.untied_items": False,
    "training.tower.epochs": 0,
    "training.codes.epochs": 40,
    "training.codes.patience": 10,
}
"""No dot product beside the scorer, nothing that the codebooks and the tokenizer do not hold."""


def _learned(name: str, label: str, changes: dict[str, Any]) -> Row:
    return Row(name, f"learned only: {label}", "sparcode", {**LEARNED, **changes})


ROWS = [
    Row("two-tower", "two-tower", "two_tower"),
    Row("whole", "the whole recipe", "sparcode"),
    Row("no-item-codes", "without item codes", "sparcode", {"item_codes.latest": 0}),
    Row("one-item-code", "with the code of the latest item alone", "sparcode", {"item_codes.latest": 1}),
    Row("narrow-window", "item codes counted among the latest ten alone", "sparcode", {"item_codes.window": 10}),
    Row("no-ridge", "item codes without ridge weights", "sparcode", {"item_codes.ridge_share": 0.0}),
    Row("no-repeat", "without repeat codes", "sparcode", {"item_codes.repeat_weight": 0.0}),
    Row("no-memory", "without the lift of (code, item)", "sparcode", {"scorer.memory": False}),
    Row("learned", "learned only: neither item codes nor lift", "sparcode", LEARNED),
    _learned("followed", "all that was learned is followed", {"training.codes.learned_share": 1.0}),
    _learned("begun", "nothing of it: codes as k-means leaves them", {"training.codes.learned_share": 0.0}),
    _learned("dot", "a dot product instead of the MLP", {"scorer.kind": "dot"}),
    _learned("tied-items", "the tower's item vectors", {"scorer.untied_items": False}),
    _learned("bound-codes", "code vectors bound to the codebook", {"scorer.free_codes": False}),
    _learned("sparsity-0", "b begins where nothing is cut", {"scorer.initial_sparsity": 0.0}),
    _learned("4-codes", "4 weighted codes a token", {"quantizer.codes_per_token": 4}),
    _learned("2-codes", "2 weighted codes a token", {"quantizer.codes_per_token": 2}),
    _learned("nearest", "the nearest code alone, boost 1 (Eq. 7)", HARD_CODES),
    _learned("commitment", "the nearest code, tokenizer learns on by Eq. 13", END_TO_END),
    _learned("straight-through", "… and straight through the code", END_TO_END | {"quantizer.gradient": "straight_through"}),
    _learned("soft", "… and through the soft assignment", END_TO_END | {"quantizer.gradient": "soft"}),
    _learned("from-scratch", "… and straight through the code, from scratch, no tower first, with a small scorer",
             FROM_SCRATCH | {"quantizer.gradient": "straight_through"}),
    _learned("literal", "as the paper reads: from scratch by Eq. 13 and 14 alone, with a small scorer", FROM_SCRATCH),
]  # fmt: skip


@click.command(cls=BenchCommand)
@bench_options
@rows_option
def main(bench: Bench, rows: str | None) -> None:
    """The recipe's parts, one row each: what is left when it is switched off, or done as in the paper."""
    wanted = chosen(ROWS, rows)
    measured = measure_rows(bench, wanted)
    title = f"Ablation: the parts of the recipe on {bench.dataset.name}"
    found = [
        {"name": row.name, "overrides": dict(row.overrides)} | m.as_json()
        for row, m in zip(wanted, measured, strict=True)
    ]
    chart = comparison(
        records_of_ours(measured, METRICS), METRICS, title, f"{bench.told}, test split, every item ranked"
    )
    write_report(bench, "ablation", title, quality_table(measured, METRICS), {"rows": found}, chart, measured)


if __name__ == "__main__":
    main()
