"""`sparcode-es verify`: prove that an engine's answers are the model's."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import click
from sparcode_es_cli.engine_options import chosen_engine, engine_options, note_engine
from sparcode_es_cli.options import PATH, json_option
from sparcode_es_cli.words import counted


@click.command(epilog="\b\nExample:\n  sparcode-es verify --checkpoint runs/ml-100k/model.pt --users 1000")
@click.option("--checkpoint", type=PATH, required=True, help="The model.")
@click.option(
    "--data",
    "data_path",
    type=PATH,
    help="The data folder of a model that reads users' features alone.  [default: the one it was trained on]",
)
@click.option("--users", type=click.IntRange(1), default=1000, show_default=True, help="How many users are drawn.")
@click.option(
    "-k", "count", type=click.IntRange(1, 10_000), default=50, show_default=True, help="How many items are compared."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Which users are drawn.")
@json_option()
@engine_options
def command(
    checkpoint: Path, data_path: Path | None, users: int, count: int, seed: int, as_json: bool, **engine_flags: Any
) -> None:
    """Compare an engine's answers with the postings and with the model computed directly, from the histories on.

    The exit code is not 0 when any check fails.
    """
    from sparcode_es_cli.extras import need_training

    need_training()
    from sparcode_es.data.dataset import Dataset
    from sparcode_es.postings.artifact import Artifact
    from sparcode_es.postings.folded import as_updated
    from sparcode_es.serving.pipeline import encode_known
    from sparcode_es.serving.verify import verify
    from sparcode_es.training.build import load_user_features
    from sparcode_es.training.checkpoint import load_checkpoint, read_checkpoint

    artifact = Artifact.open(engine_flags["postings"], verify=True)
    model = as_updated(load_checkpoint(checkpoint), artifact)
    if model.config.tokenizer.source == "features":
        load_user_features(model, Dataset.open(data_path or Path(read_checkpoint(checkpoint).data)))
    elif data_path is not None:
        raise click.UsageError(
            "--data is for a model that reads users' features alone; this one reads the postings' histories, and any "
            "features are in its checkpoint: leave --data out"
        )
    with chosen_engine(engine_flags) as engine:
        result = verify(engine, artifact, model, partial(encode_known, model, artifact), users, count, seed)
        note_engine(engine, f"{counted(result.users, 'user')} compared")
    if as_json:
        click.echo(json.dumps({**asdict(result), "passed": result.passed}))
    else:
        _print(asdict(result))
    result.require()


def _print(report: dict[str, Any]) -> None:
    click.echo(f"users                          {report['users']}")
    click.echo(f"recall@{report['k']:<4} (ties as equal)     {report['recall']:.6f}")
    click.echo(f"error against rounded scores   {report['rounded_error']:.2e}")
    click.echo(f"error against the model        {report['unrounded_error']:.2e}")
    click.echo(f"postings missing               {report['missing']}")
    click.echo(f"ties at place k                {report['ties']}")
    click.echo(f"lists out of order             {report['wrong_order']}")
    click.echo(f"users with other codes         {report['other_codes']}")
    if report["cut"]:
        click.echo(
            "the postings were cut on purpose: a pair that the cut can have taken is neither missing nor an error"
        )
