"""Table 3: what happens between a code and an item, with nothing remembered beside it.

python benchmarks/table3_interactions.py --data data/deezer-svd --preset deezer-svd --seeds 0,1,2 --runs runs/paper
"""

from __future__ import annotations

from typing import Any

import click
import paper
from command import BenchCommand
from options import bench_options, rows_option
from systems import CODES_ONLY, Bench, Row, chosen
from tables import make_table

METRICS = ("recall@20", "recall@50", "ndcg@20", "ndcg@50")
TOKENIZERS = {"dnn": ("DNN", "dnn"), "sa": ("SA", "self_attention")}
INTERACTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "dot-1": ("dot product (K_c = 1)", {"scorer.kind": "dot", "tokenizer.item_tokens": 1}),
    "dot-4": ("dot product (K_c = 4)", {"scorer.kind": "dot", "tokenizer.item_tokens": 4}),
    "maxsim": ("MaxSim", {"scorer.kind": "maxsim", "tokenizer.item_tokens": 4}),
    "crossnet": ("CrossNet", {"scorer.kind": "crossnet", "tokenizer.item_tokens": 4}),
    "dnn": ("DNN", {"scorer.kind": "dnn", "tokenizer.item_tokens": 4}),
    "inner_pdnn": ("InnerPDNN", {"scorer.kind": "inner_pdnn", "tokenizer.item_tokens": 4}),
}
PURE = {**CODES_ONLY, "scorer.residual": False, "scorer.initial_sparsity": 0.0}
"""The interaction alone: no dot product added to it. Without one b begins where nothing is cut: the ReLU of Eq. 10 may die."""


def _rows() -> list[Row]:
    rows = []
    for short, (title, kind) in TOKENIZERS.items():
        tokenizer = {"tokenizer.kind": kind}
        name = f"{short}-ttm"
        rows.append(Row(name, f"{title}: two-tower, dot product", "two_tower", tokenizer, paper.TABLE_3[name]))
        for interaction, (label, overrides) in INTERACTIONS.items():
            name = f"{short}-{interaction}"
            settings = {**PURE, **tokenizer, **overrides}
            rows.append(Row(name, f"{title}: {label}", "sparcode", settings, paper.TABLE_3[name]))
    return rows


ROWS = _rows()


@click.command(cls=BenchCommand)
@bench_options
@rows_option
def main(bench: Bench, rows: str | None) -> None:
    """Table 3: dot product, MaxSim, CrossNet, DNN and InnerPDNN behind DNN and self-attention; R and N @20 and @50."""
    make_table(bench, "table3", "Table 3: interaction of code and item", chosen(ROWS, rows), METRICS, "Deezer, TT-SVD")


if __name__ == "__main__":
    main()
