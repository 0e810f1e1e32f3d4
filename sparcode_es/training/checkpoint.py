"""Checkpoints: state dicts, the configuration and the item ids as JSON and tensors; nothing that runs when it is read."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sparcode_es.config import Config, from_mapping, to_mapping
from sparcode_es.errors import CheckpointError, ConfigError, DataError
from sparcode_es.files import atomic_write, parse_json
from sparcode_es.models.base import RankingModel
from sparcode_es.models.features import FeatureSpec
from sparcode_es.models.sparcode import SparCode
from sparcode_es.tables import StringTable
from sparcode_es.training.build import MODELS

DAMAGE = (
    *(KeyError, TypeError, ValueError, RuntimeError, AttributeError, OverflowError, IndexError),
    *(AssertionError, ConfigError, DataError),
)
"""What a header or tensors of another kind make the readers raise."""
FORMAT = "sparcode-es checkpoint 7"


@dataclass(frozen=True)
class Checkpoint:
    """A trained model and what it was trained on."""

    model: RankingModel
    item_ids: StringTable
    data: str
    """The data folder's path when it was trained."""
    report: dict[str, Any]
    """Epochs, seconds, validation metrics."""
    events: str
    """`Dataset.events_hash` of what it was trained on."""


def save_checkpoint(
    path: Path, model: RankingModel, item_ids: StringTable, data: str, report: dict[str, Any], events: str
) -> None:
    """Write a model so that `load_checkpoint` needs nothing else. Atomic; raises `StorageError`.

    data, events: the data folder's path and its `events_hash`.
    """
    header = {
        "config": to_mapping(model.config),
        "num_items": model.num_items,
        "num_users": model.num_users,
        "item_features": [spec.__dict__ for spec in model.item_specs],
        "user_features": [spec.__dict__ for spec in model.user_specs],
        "data": data,
        "events": events,
        "report": report,
    }
    ids = "\n".join(json.dumps(text) for text in item_ids).encode()
    save_tensors(
        path,
        {
            "format": FORMAT,
            "header": json.dumps(header),
            "item_ids": torch.from_numpy(np.frombuffer(ids, dtype=np.uint8).copy()),
            "model": {name: value.detach().cpu() for name, value in model.state_dict().items()},
        },
    )


def save_tensors(path: Path, content: dict[str, Any]) -> None:
    """`torch.save` through a temporary file, so that a kill leaves the old file or the new one."""
    with atomic_write(path) as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:
            # torch's zip writer hides what the disk said behind an error of its own.
            if isinstance(error.__context__, OSError):
                raise error.__context__ from error
            raise


def load_tensors(path: Path) -> dict[str, Any]:
    """`torch.load(weights_only=True)` on the CPU. Raises `CheckpointError` for anything that is not such a file."""
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint at {path}; `sparcode-es train` writes one")
    unreadable = (
        f"{path} is no readable checkpoint (truncated, or not written by sparcode-es); remove it and train again"
    )
    if not zipfile.is_zipfile(path):
        raise CheckpointError(unreadable)
    if _damaged(path):
        raise CheckpointError(
            f"{path} is damaged: a checksum in it does not hold; copy it again, or remove it and train again"
        )
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch's reader raises whatever the damaged bytes lead to
        raise CheckpointError(unreadable) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} is a torch file, but no checkpoint of this version of sparcode-es ({FORMAT}); train into another folder"
        )
    return content


def _damaged(path: Path) -> bool:
    """Whether a part's CRC-32, which torch.save writes and torch.load does not look at, does not hold, or a part is packed, which
    torch.save does not do: it would take more memory than the file has bytes."""
    try:
        with zipfile.ZipFile(path) as archive:
            if any(part.compress_type != zipfile.ZIP_STORED for part in archive.infolist()):
                return True
            return archive.testzip() is not None
    except Exception:  # zipfile, too
        return True


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint whole: model in evaluation mode on the CPU, item ids, report. Raises `CheckpointError`."""
    content = load_tensors(path)
    if "stage" in content:
        raise CheckpointError(f"{path} is the state of a training, no checkpoint; give its model.pt or two_tower.pt")
    try:
        header = parse_json(content["header"])
        lines = bytes(content["item_ids"].numpy()).decode().splitlines()
        item_ids = StringTable.build(parse_json(line) for line in lines)
        if len(item_ids) != header["num_items"]:
            raise ValueError(f"{len(item_ids)} item ids for {header['num_items']} items")
        model = _model(header, content["model"])
        data, events, report = str(header["data"]), str(header["events"]), dict(header["report"])
    except DAMAGE as error:
        raise CheckpointError(f"the checkpoint {path} is damaged: {error}") from error
    model.eval()
    return Checkpoint(model, item_ids, data, report, events)


def _model(header: dict[str, Any], weights: Any) -> RankingModel:
    """The model of a header with its weights. What the header says of sizes is held against the weights that are there, on a
    device without memory, before the model is made."""
    config = from_mapping(Config, header["config"])
    for name, value in _layers(header["config"]):
        if value > max(64, len(weights)):
            raise ValueError(f"{name} is {value}, for {len(weights)} tensors")
    specs = {side: [FeatureSpec(**spec) for spec in header[f"{side}_features"]] for side in ("item", "user")}
    arguments = (config, header["num_items"], header["num_users"], specs["item"], specs["user"])
    with torch.device("meta"):
        expected = MODELS[config.model](*arguments).state_dict()
    for name, tensor in expected.items():
        found = weights[name]
        if (found.dtype, found.layout) != (tensor.dtype, torch.strided) or tensor.numel() > found.numel():
            raise ValueError(f"{name} is {found.dtype} {list(found.shape)}, not {tensor.dtype} {list(tensor.shape)}")
        if found.numel() * found.element_size() > found.untyped_storage().nbytes():
            raise ValueError(f"{name} is said to be {list(found.shape)}, more than is stored of it")
    model = MODELS[config.model](*arguments)
    model.load_state_dict(weights)
    return model


def _layers(tables: Any, path: str = "config") -> Iterator[tuple[str, int]]:
    """Numbers of layers in a configuration, with their names."""
    for key, value in tables.items():
        if isinstance(value, dict):
            yield from _layers(value, f"{path}.{key}")
        elif key.endswith("layers") and isinstance(value, int):
            yield f"{path}.{key}", value


def read_sparcode(path: Path) -> tuple[SparCode, StringTable]:
    """The SparCode model of a checkpoint and its item ids. Raises `CheckpointError` also for a model without codes."""
    found = read_checkpoint(path)
    return require_sparcode(found.model, path), found.item_ids


def require_sparcode(model: RankingModel, path: Path) -> SparCode:
    """The model of a checkpoint. Raises `CheckpointError` for one without codes."""
    if not isinstance(model, SparCode):
        raise CheckpointError(
            f"{path} holds a model of kind {model.config.model}, which has no codes; give the checkpoint of a SparCode model"
        )
    return model


def load_checkpoint(path: Path) -> SparCode:
    """The SparCode model alone; see `read_sparcode`."""
    return read_sparcode(path)[0]
