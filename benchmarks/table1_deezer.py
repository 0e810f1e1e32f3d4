"""Table 1: every system on cold Deezer users.

python benchmarks/table1_deezer.py --data data/deezer-svd --preset deezer-svd --seeds 0,1,2,3,4 --runs runs/paper
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import click
import paper
from command import BenchCommand
from options import bench_options, rows_option
from systems import Bench, Row, chosen, settings_of
from tables import make_table

DNN, SA = {"tokenizer.kind": "dnn"}, {"tokenizer.kind": "self_attention"}


PAPERS = ("deezer-svd", "deezer-mf")
"""Presets at the paper's sizes. With them the systems that others published for such users are trained as their presets say."""


def rows_of(embeddings: str, published: bool = False) -> list[Row]:
    """The rows of Table 1, in its order. published: DropoutNet, MeLU and DeezerNet by their own presets."""

    def own(model: str) -> Mapping[str, Any]:
        return settings_of(f"deezer-{model}") if published else {}

    rows = [
        Row("popularity", "Popularity", "popularity"),
        Row("dropoutnet", "DropoutNet", "dropoutnet", own("dropoutnet")),
        Row("melu", "MeLU", "melu", own("melu")),
        Row("deezernet", "DeezerNet", "deezernet", own("deezernet")),
        Row(
            "deezernet-semi",
            "DeezerNet, semi-personalised",
            "deezernet",
            {**own("deezernet"), "deezernet.form": "semi"},
        ),
        Row("ttm-dnn", "TTM w/ DNN (DSSM)", "two_tower", DNN),
        Row("sparcode-dnn", "SparCode w/ DNN", "sparcode", DNN),
        Row("ttm-sa", "TTM w/ SA", "two_tower", SA),
        Row("sparcode-sa", "SparCode w/ SA", "sparcode", SA),
        Row("all-to-all", "All-to-All SA", "all_to_all", {**SA, "all_to_all.form": "late"}),
    ]
    printed = dict(paper.TABLE_1[embeddings])
    if embeddings == "svd":
        printed["deezernet-semi"] = paper.DEEZERNET_SEMI
    return [replace(row, paper=printed.get(row.name, {})) for row in rows]


@click.command(cls=BenchCommand)
@bench_options
@rows_option
@click.option(
    "--embeddings", type=click.Choice(list(paper.EMBEDDINGS)), default="svd", show_default=True,
    help="Which half of the paper's table stands beside: what the data folder was imported with.",
)  # fmt: skip
def main(bench: Bench, rows: str | None, embeddings: str) -> None:
    """Table 1: popularity, DropoutNet, MeLU, DeezerNet, two-towers, SparCodes and All-to-All, P, R and N @50."""
    name = paper.EMBEDDINGS[embeddings]
    who = "cold users" if bench.dataset.has_cold_users else "users with a history, unlike the paper's"
    title = f"Table 1: every system, {who} ({name})"
    wanted = chosen(rows_of(embeddings, bench.preset in PAPERS and not bench.small), rows)
    make_table(bench, f"table1-{embeddings}", title, wanted, paper.P_R_N, f"Deezer, {name}")


if __name__ == "__main__":
    main()
