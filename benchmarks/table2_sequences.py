"""Table 2: sequences, three encoders in a two-tower and in a SparCode, and the all-to-all oracle.

python benchmarks/table2_sequences.py --data data/ml-10m --preset paper-ml-10m --seeds 0,1,2,3,4 --runs runs/paper
"""

from __future__ import annotations

from dataclasses import replace

import click
import paper
from command import BenchCommand
from options import bench_options, rows_option
from systems import CODES_ONLY, Bench, Row, chosen
from tables import make_table

METRICS = ("precision@50", "recall@50", "ndcg@50", "recall@20", "ndcg@20")
DNN, GRU, SA = ({"tokenizer.kind": kind} for kind in ("dnn", "gru", "self_attention"))
CAPSULE = {"tokenizer.kind": "capsule", "tokenizer.tokens": 4}
ROWS = [
    Row("popularity", "Popularity", "popularity"),
    Row("ttm-dnn", "TTM: DSSM", "two_tower", DNN, paper.TABLE_2["ttm-dnn"]),
    Row("ttm-gru", "TTM: GRU4Rec", "two_tower", GRU, paper.TABLE_2["ttm-gru"]),
    Row("ttm-sa", "TTM: SASRec", "two_tower", SA, paper.TABLE_2["ttm-sa"]),
    Row("sparcode-dnn", "SparCode: DNN", "sparcode", DNN, paper.TABLE_2["sparcode-dnn"]),
    Row("sparcode-gru", "SparCode: GRU4Rec", "sparcode", GRU, paper.TABLE_2["sparcode-gru"]),
    Row("sparcode-sa", "SparCode: SASRec", "sparcode", SA, paper.TABLE_2["sparcode-sa"]),
    Row("sparcode-sa-learned", "SparCode: SASRec, nothing remembered", "sparcode", {**SA, **CODES_ONLY}),
    Row("sparcode-capsule", "SparCode: Capsule", "sparcode", CAPSULE),
    Row("all-to-all", "All-to-All: SASRec", "all_to_all", SA, paper.TABLE_2["all-to-all"]),
]

PAPER_SIZES = "paper-ml-10m"
LONG = {"training.tower.epochs": 50, "training.tower.patience": 5}
"""As long as SparCode trains with that preset, whose tower is a warm start of one epoch."""


def rows_for(bench: Bench) -> list[Row]:
    """The rows; a two-tower for itself is trained to its end."""
    if bench.preset != PAPER_SIZES or bench.small:
        return ROWS
    return [replace(row, overrides={**row.overrides, **LONG}) if row.model == "two_tower" else row for row in ROWS]


@click.command(cls=BenchCommand)
@bench_options
@rows_option
def main(bench: Bench, rows: str | None) -> None:
    """Table 2: DNN, GRU and self-attention as two-tower and as SparCode, capsules, All-to-All; P, R and N @50."""
    make_table(bench, "table2", "Table 2: sequences", chosen(rows_for(bench), rows), METRICS, "MovieLens-10M")


if __name__ == "__main__":
    main()
