"""Table 1: every system on cold Deezer users.

python benchmarks/table1_deezer.py --data data/deezer-tt-svd --preset paper-deezer --seeds 0,1,2,3,4 --runs runs/paper
"""

from __future__ import annotations

from dataclasses import replace

import click
import paper
from options import bench_options, rows_option
from systems import Bench, Row, chosen
from tables import make_table

DNN, SA = {"tokenizer.kind": "dnn"}, {"tokenizer.kind": "self_attention"}


def rows_of(vectors: str) -> list[Row]:
    """The rows of Table 1, in its order."""
    rows = [
        Row("popularity", "Popularity", "popularity"),
        Row("dropoutnet", "DropoutNet", "dropoutnet"),
        Row("melu", "MeLU", "melu"),
        Row("deezernet", "DeezerNet", "deezernet"),
        Row("deezernet-semi", "DeezerNet, semi-personalised", "deezernet", {"deezernet.form": "semi"}),
        Row("ttm-dnn", "TTM w/ DNN (DSSM)", "two_tower", DNN),
        Row("sparcode-dnn", "SparCode w/ DNN", "sparcode", DNN),
        Row("ttm-sa", "TTM w/ SA", "two_tower", SA),
        Row("sparcode-sa", "SparCode w/ SA", "sparcode", SA),
        Row("all-to-all", "All-to-All SA", "all_to_all", SA),
    ]
    printed = dict(paper.TABLE_1[vectors])
    if vectors == "tt-svd":
        printed["deezernet-semi"] = paper.DEEZERNET_SEMI
    return [replace(row, paper=printed.get(row.name, {})) for row in rows]


@click.command()
@bench_options
@rows_option
@click.option("--vectors", type=click.Choice(["tt-svd", "ut-als"]), default="tt-svd", show_default=True,
              help="Which half of the paper's table stands beside: the song and user vectors of the data folder.")  # fmt: skip
def main(bench: Bench, rows: str | None, vectors: str) -> None:
    """Table 1: popularity, DropoutNet, MeLU, DeezerNet, two-towers, SparCodes and All-to-All, P, R and N @50."""
    title = f"Table 1: every system, cold users ({vectors.upper()})"
    make_table(
        bench, f"table1-{vectors}", title, chosen(rows_of(vectors), rows), paper.P_R_N, f"Deezer, {vectors.upper()}"
    )


if __name__ == "__main__":
    main()
