"""`sparcode-es postings`: build, update, check and describe the postings artifact."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from sparcode_es_cli.options import PATH, POSTINGS, POSTINGS_VARIABLE, add_options, json_option, postings_option
from sparcode_es_cli.update import update

from sparcode_es.config import PostingsConfig, to_mapping

if TYPE_CHECKING:
    from sparcode_es.postings.artifact import Artifact

F = TypeVar("F", bound=Callable[..., Any])


CUTS = (
    click.option("--bias", type=float, help="b of Eq. 15; the model's own when left out."),
    click.option(
        "--sparsity", type=float, help="Cut this share of the scored pairs; item codes are neither counted nor cut."
    ),
    click.option(
        "--cut",
        type=click.Choice(["bias", "traffic"]),
        default="bias",
        show_default=True,
        help="What --sparsity keeps: the largest scores (Eq. 15), or what the users' best items are made of, which "
        "`postings update` refuses.",
    ),
    click.option(
        "--traffic-test",
        is_flag=True,
        help="--cut traffic looks at the test events too: for service, not for `evaluate` on the test split.",
    ),
    click.option("--max-postings-per-code", type=int, help="Keep each code's best n items."),
    click.option(
        "--max-codes-per-item",
        type=int,
        help="Keep each item's best n codes; `postings update` refuses such an artifact.",
    ),
    click.option(
        "--min-codes-per-item",
        type=int,
        default=0,
        show_default=True,
        help="Never cut an item's best n codes. Works under the maxima and --cut traffic, not under a bias; "
        "`postings update` refuses it.",
    ),
    click.option(
        "--observed-codes-only/--all-codes",
        default=None,
        help="Leave out codes that no user has; the default when M is 2 or more.",
    ),
)


def cut_options(function: F) -> F:
    """Add the flags of `PostingsConfig`: what of the scores is kept."""
    return add_options(function, CUTS)


def cuts_of(flags: dict[str, Any]) -> PostingsConfig:
    """The flags of `cut_options` among a command's flags."""
    names = {field.name for field in fields(PostingsConfig)}
    return PostingsConfig(**{name: value for name, value in flags.items() if name in names})


@click.group(epilog="\b\nExample:\n  sparcode-es postings build --checkpoint runs/ml-100k/model.pt --data data/ml-100k")
def command() -> None:
    """The postings artifact: the score of every (code, item) pair that is kept."""


command.add_command(update)


@command.command(
    epilog="\b\nExample:\n  sparcode-es postings build --checkpoint runs/ml-100k/model.pt --data data/ml-100k --sparsity 0.9"
)
@click.option("--checkpoint", type=PATH, required=True, help="model.pt of `sparcode-es train`.")
@click.option("--data", "data_path", type=PATH, required=True, help="The data folder it was trained on.")
@postings_option(None, "--out")
@cut_options
@click.option(
    "--device",
    type=click.Choice(["cpu", "cuda"]),
    default="cpu",
    show_default=True,
    help="Where the scores are made. They are the same but for the last digits; `postings update` makes its on the CPU.",
)
@json_option()
def build(checkpoint: Path, data_path: Path, out: Path, device: str, as_json: bool, **settings: Any) -> None:
    """Score every (code, item) pair and write the artifact.

    Postings cut by traffic or per item cannot be updated with later events (`postings update`): build them anew. A run that is
    killed leaves the artifact that was there.
    """
    _report(built(checkpoint, data_path, out, cuts_of(settings), device), as_json)


def built(checkpoint: Path, data_path: Path | None, out: Path, cuts: PostingsConfig, device: str = "cpu") -> Artifact:
    """The artifact of a checkpoint's model and a data folder, None for the one that it was trained on; says on stderr where the
    folder holds other events."""
    from sparcode_es_cli.extras import need_training

    need_training()
    from sparcode_es.data.dataset import Dataset
    from sparcode_es.serving.encoder import HistoryEncoder
    from sparcode_es.serving.pipeline import build_from_data
    from sparcode_es.training.checkpoint import read_checkpoint, require_sparcode
    from sparcode_es.training.trainer import pick_device

    trained = read_checkpoint(checkpoint)
    model = require_sparcode(trained.model, checkpoint).to(pick_device(device, "--device"))
    dataset = Dataset.open(data_path or Path(trained.data))
    if trained.events != dataset.events_hash:
        click.echo(
            f"{dataset.path} holds other events than {checkpoint} was trained on, or another split of them: users get the codes "
            "of these",
            err=True,
        )
    return build_from_data(HistoryEncoder(model, trained.item_ids), dataset, out, cuts)


@command.command(epilog="\b\nExample:\n  sparcode-es postings check runs/postings")
@click.argument("path", type=PATH, default=POSTINGS, envvar=POSTINGS_VARIABLE)
@json_option()
def check(path: Path, as_json: bool) -> None:
    """Recompute every file's checksum, check the numbers' ranges, and print the report.

    The commands that answer check sizes and bounds only; do this after copying an artifact, or when a disk is in doubt.
    """
    from sparcode_es.postings.artifact import Artifact

    artifact = Artifact.open(path, verify=True)
    _report(artifact, as_json, {"verified_files": len(artifact.manifest.files)})


def _report(artifact: Artifact, as_json: bool, also: dict[str, Any] | None = None) -> None:
    manifest = artifact.manifest
    size = sum(file.bytes for file in manifest.files.values())
    postings = sum(manifest.files[f"{name}.npy"].bytes for name in ("item_numbers", "scores", "code_offsets"))
    report = {
        "postings": str(artifact.path),
        "model_hash": artifact.model_hash,
        "generation": artifact.generation_hash,
        "bias": manifest.bias,
        "sparsity": manifest.sparsity,
        "average_items": manifest.average_items,
        "sparsity_of_stored_codes": manifest.sparsity_of_stored_codes,
        "average_items_of_stored_codes": manifest.average_items_of_stored_codes,
        "max_rounding_error": manifest.rounding.max_relative_error,
        "bytes": size,
        "bytes_per_posting": postings / max(artifact.num_postings, 1),
        **{f"num_{name}": value for name, value in to_mapping(manifest.counts).items()},
        **(also or {}),
    }
    if as_json:
        click.echo(json.dumps(report))
        return
    for name, value in report.items():
        click.echo(
            f"{name.replace('_', ' '):<32} {value:.6g}"
            if isinstance(value, float)
            else f"{name.replace('_', ' '):<32} {value}"
        )
