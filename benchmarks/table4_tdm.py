"""Table 4: a learned tree with beam search against the inverted index, both over a DNN.

python benchmarks/table4_tdm.py --data data/deezer-svd --preset deezer-svd --seeds 0,1,2 --runs runs/paper
"""

from __future__ import annotations

import click
import paper
from command import BenchCommand
from options import bench_options, rows_option
from systems import Bench, Row, chosen
from tables import make_table

METRICS = ("recall@5", "recall@10", "recall@20", "recall@50")
DNN = {"tokenizer.kind": "dnn"}
ROWS = [
    Row("tdm-dot", "TDM-DNN, dot product", "tdm", {**DNN, "tdm.interaction": "dot"}, paper.TABLE_4["tdm-dot"]),
    Row("tdm-mlp", "TDM-DNN, MLPs", "tdm", {**DNN, "tdm.interaction": "mlp"}, paper.TABLE_4["tdm-mlp"]),
    Row("ttm-dnn", "TTM w/ DNN", "two_tower", DNN),
    Row("sparcode-dnn", "SparCode-DNN, MLPs", "sparcode", DNN, paper.TABLE_4["sparcode-dnn"]),
]


@click.command(cls=BenchCommand)
@bench_options
@rows_option
def main(bench: Bench, rows: str | None) -> None:
    """Table 4: TDM with dot product and with MLPs against SparCode with a DNN; R @5 to @50."""
    make_table(bench, "table4", "Table 4: SparCode and TDM", chosen(ROWS, rows), METRICS, "Deezer, TT-SVD")


if __name__ == "__main__":
    main()
