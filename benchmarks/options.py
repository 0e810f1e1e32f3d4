"""The options that every benchmark of quality takes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from command import Numbers
from sparcode_es_cli.train import parse_setting
from systems import Bench

from sparcode_es.config import preset_names
from sparcode_es.data.dataset import Dataset

OPTIONS = (
    click.option("--data", type=click.Path(path_type=Path), required=True, help="A data folder."),
    click.option("--preset", type=click.Choice(preset_names()),
                 help="Leave it out for what `sparcode-es train` does without flags."),
    click.option("--seeds", type=Numbers(), default="0,1,2", show_default=True, help="One training of each system a seed."),
    click.option("--scale", type=click.Choice(["small", "full"]), default="full", show_default=True,
                 help="small: few epochs and small grids, for two cores; full: the recipe as it is."),
    click.option("--runs", type=click.Path(path_type=Path), required=True,
                 help="The folder of trainings; one that is finished there is not repeated, whichever command made it."),
    click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Set one key for all systems, as in TOML."),
    click.option("--label", default="", metavar="NAME",
                 help="Stands in the names of the files, so that what --set or a row of its own makes overwrites nothing."),
    click.option("--out", type=click.Path(path_type=Path),
                 help="Where JSON, Markdown and picture go; results in RUNS without it. What is published lies in "
                      "benchmarks/results."),
)  # fmt: skip

rows_option = click.option(
    "--rows", help="Only these rows, by name, commas between; the message of a wrong name lists them."
)


def bench_options(function: Callable[..., None]) -> Callable[..., None]:
    """Give `function` a `Bench` from the shared options."""

    @functools.wraps(function)
    def run(
        data: Path,
        preset: str | None,
        seeds: tuple[int, ...],
        scale: str,
        runs: Path,
        settings: tuple[str, ...],
        label: str,
        out: Path | None,
        **more: Any,
    ) -> None:
        overrides = dict(parse_setting(text) for text in settings)
        function(
            Bench(Dataset.open(data), preset, seeds, scale, runs, out or runs / "results", overrides, label), **more
        )

    for option in reversed(OPTIONS):
        run = option(run)
    return run
