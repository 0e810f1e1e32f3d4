"""`sparcode-es train`: train a model on a data folder."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click
from sparcode_es_cli.options import PATH, json_option

from sparcode_es.config import Config, ModelName, load_config, preset_names, to_toml
from sparcode_es.errors import ConfigError

if TYPE_CHECKING:
    from sparcode_es.data.dataset import Dataset
    from sparcode_es.training.tensorboard import TensorBoard

MODELS = get_args(ModelName)


@click.command(
    epilog="\b\nExample:\n  sparcode-es train --data data/ml-100k --out runs/ml-100k --preset ml-100k --set training.seed=1"
)
@click.option("--data", "data_path", type=PATH, help="The data folder (see `sparcode-es data`).")
@click.option("--out", type=PATH, help="The folder for checkpoints and log; a killed run goes on there.")
@click.option("--config", "config_path", type=PATH, help="A TOML file, over the preset.")
@click.option("--preset", type=click.Choice(preset_names()), help="A configuration that ships with the package.")
@click.option("--model", type=click.Choice(MODELS), help="What to train; over preset and file.")
@click.option("--seed", type=int, help="Short for --set training.seed=N.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Set one key, as in TOML; may be repeated.")
@click.option("--tower", type=PATH, help="A two_tower.pt to begin from instead of training a tower.")
@click.option(
    "--refit",
    type=PATH,
    help="Train again what this finished folder trained, on the validation events too, with what validation chose there.",
)
@click.option(
    "--with-test", is_flag=True, help="With --refit: on the test events as well. Nothing can judge the model then."
)
@click.option(
    "--tensorboard",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write the log into this folder for TensorBoard too; needs the extra tensorboard.",
)
@click.option("--print-config", is_flag=True, help="Print the whole configuration as TOML and stop.")
@json_option()
def command(
    data_path: Path | None,
    out: Path | None,
    config_path: Path | None,
    preset: str | None,
    model: str | None,
    seed: int | None,
    settings: tuple[str, ...],
    tower: Path | None,
    refit: Path | None,
    with_test: bool,
    tensorboard: Path | None,
    print_config: bool,
    as_json: bool,
) -> None:
    """Train SparCode, or a system to compare it with, on a data folder.

    Writes model.pt, config.toml and log.jsonl into --out; for SparCode, all_to_all and tdm also two_tower.pt, the twin
    from the same data and loop in which they begin, and for --model two_tower only that.
    """
    overrides = dict(parse_setting(text) for text in settings)
    if model is not None:
        overrides["model"] = model
    if seed is not None:
        overrides["training.seed"] = seed
    if with_test and refit is None:
        raise click.UsageError("--with-test belongs to --refit: epochs and weights are chosen before, on validation")
    if refit is not None and (overrides or config_path or preset or tower):
        raise click.UsageError("--refit takes the whole configuration from the folder: give only --data and --out")
    if refit is not None and out is not None and out.resolve() == refit.resolve():
        raise ConfigError(f"--refit reads {refit}, which stays as it is; give another folder as --out")
    config = load_config(config_path, preset, overrides) if refit is None else _refit_config(refit, with_test)
    if print_config:
        click.echo(to_toml(config), nl=False)
        return
    if data_path is None or out is None:
        raise click.UsageError("give --data and --out")
    from sparcode_es_cli.extras import need_training

    need_training()
    from sparcode_es.data.dataset import Dataset
    from sparcode_es.training.loop import train
    from sparcode_es.training.stage import shown

    dataset = Dataset.open(data_path, verify=True)
    if refit is not None:
        _compare_data(refit, config, dataset)
    with _board(tensorboard, config) as board:
        result = train(config, dataset, out, tower=tower, echo=lambda line: click.echo(line, err=True), listen=board)
    if as_json:
        metric = config.training.metric
        click.echo(json.dumps({"checkpoint": str(result.model_path), "metric": metric, **result.report}))
    else:
        click.echo(f"checkpoint  {result.model_path}")
        for key, value in result.report.items():
            click.echo(f"{key}  {shown(key, value, '.4f')}{_meaning(key, value, config.training.metric)}")
    for doubt in doubts(result.report, config.training.metric):
        click.echo(doubt, err=True)


def doubts(report: dict[str, Any], metric: str) -> Iterator[str]:
    """What of a training somebody should look at, one sentence each."""
    validated = [(key, value) for key, value in report.items() if key.endswith("_validation")]
    if len(validated) > 1 and validated[0][0] == "tower_validation" and validated[0][1] > validated[-1][1]:
        twin, own = validated[0][1], validated[-1][1]
        ahead = f"the two-tower that it begins from, two_tower.pt, is ahead on validation: {metric} {twin:.4f} against {own:.4f}"
        has_codes = "codes_validation" in report
        yield ahead + ("; more codes a token (quantizer.codes_per_token) keep more of it" if has_codes else "")


def _meaning(key: str, value: float, metric: str) -> str:
    """What a number of the report is of, where its name does not tell."""
    from sparcode_es.training.memory import REPEATS, SHARES, WEIGHTS

    largest = {"ridge_share": SHARES[-1], "repeat_weight": REPEATS[-1]}.get(
        key, WEIGHTS[-1] if key.endswith("_weight") else None
    )
    if value == largest:
        return "  the largest that was tried"
    if key.endswith("_validation"):
        return f"  {metric} on the validation split"
    return "  of the finished codes; an epoch's is of codes that still moved" if key == "perplexity" else ""


def _board(folder: Path | None, config: Config) -> AbstractContextManager[TensorBoard | None]:
    """What listens to the training; nothing without a folder."""
    if folder is None:
        return nullcontext()
    from sparcode_es.training.tensorboard import TensorBoard

    return TensorBoard(folder, config)


def _refit_config(run: Path, with_test: bool) -> Config:
    from sparcode_es_cli.extras import need_training

    need_training()
    from sparcode_es.training.refit import refit_config

    return refit_config(run, with_test)


def _compare_data(run: Path, config: Config, dataset: Dataset) -> None:
    """Say when a refit is of other events; raise `MismatchError` when it is of other items."""
    from sparcode_es.training.refit import on_other_events

    if on_other_events(run, config, dataset):
        click.echo(
            f"{run} was trained on other events than those of {dataset.path}, or another split of them: its epochs and weights "
            "were chosen on those",
            err=True,
        )


def parse_setting(text: str) -> tuple[str, Any]:
    """`training.seed=3` → ("training.seed", 3). The value is read as TOML, else as a plain string."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise ConfigError(f"--set takes KEY=VALUE, not {text!r}")
    try:
        return key, tomllib.loads(f"value = {value}")["value"]
    except (ValueError, RecursionError):
        return key, value
