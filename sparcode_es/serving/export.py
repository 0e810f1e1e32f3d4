"""A model's encoder of histories → one ONNX file that `ExportedEncoder` reads."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sparcode_es.errors import MismatchError, MissingExtraError
from sparcode_es.files import atomic_write
from sparcode_es.models.sparcode import SparCode
from sparcode_es.models.tokenizers import Tokenizer, tokens_at
from sparcode_es.serving.exported import FORMAT, HEADER, sealed
from sparcode_es.tables import StringTable


class _Tokens(nn.Module):
    """Histories → tokens of users without features. Items come as one table, their features added; none of a user's is in it."""

    items: Tensor
    unknown: Tensor

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__()
        device = tokenizer.item_embedding.weight.device
        everything, nobody = torch.arange(tokenizer.num_items, device=device), torch.tensor([-1], device=device)
        self.register_buffer("items", tokenizer.items(everything).detach())
        known = tokenizer.user_features(nobody) if tokenizer.user_features.specs else self.items.new_zeros(1, 1)
        self.register_buffer("unknown", known.detach())
        self.encoder, self.heads, self.members = tokenizer.encoder, tokenizer.heads, tokenizer.config.members

    def forward(self, histories: Tensor, positions: Tensor) -> Tensor:
        """As `Tokenizer.forward`."""
        return tokens_at(self.encoder(self.items[histories]), positions, self.unknown, self.heads, self.members)


def export_encoder(model: SparCode, item_ids: StringTable, path: Path) -> None:
    """Write the encoder. Raises `MismatchError` for a model that reads no histories, `MissingExtraError`, `StorageError`."""
    if not isinstance(model.tokenizer, Tokenizer):
        raise MismatchError(
            "this model reads users' features, not histories; there is no encoder of histories to export"
        )
    try:
        import onnx
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise MissingExtraError.of(f"this needs {error.name}", "onnx") from error
    graph = _graph(_Tokens(model.tokenizer).eval())
    ids = "\n".join(json.dumps(text) for text in item_ids).encode()
    _add_constant(onnx, graph, "codebooks", model.quantizer.codebooks.detach().cpu().numpy())
    _add_constant(onnx, graph, "item_ids", np.frombuffer(ids, dtype=np.uint8))
    graph.metadata_props.add(key=HEADER, value=json.dumps(_header(model)))
    with atomic_write(path) as file:
        file.write(sealed(graph.SerializeToString()))


def _header(model: SparCode) -> dict[str, Any]:
    quantizer = model.config.quantizer
    return {
        "format": FORMAT,
        "model_hash": model.model_hash,
        "codebook_hash": model.codebook_hash,
        "shared_heads": model.shared_heads,
        "max_length": model.config.tokenizer.max_length,
        "codes_per_token": quantizer.codes_per_token if quantizer.assignment == "pursuit" else None,
        "latest_items": [asdict(kind) for kind in model.latest_items],
    }


def _graph(module: nn.Module) -> Any:
    """The module as an `onnx.ModelProto`, for any number and length of histories."""
    histories, positions = torch.zeros(2, 3, dtype=torch.int64), torch.tensor([2, 5])
    with _quiet(), torch.no_grad():
        any_size = torch.export.Dim.AUTO
        program: Any = torch.onnx.export(
            module.cpu(),
            (histories, positions),
            dynamo=True,
            dynamic_shapes=({0: any_size, 1: any_size}, {0: any_size}),
            input_names=["histories", "positions"],
            output_names=["tokens"],
            verbose=False,
        )
        return program.model_proto


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter says about itself and about packages that it could use."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


def _add_constant(onnx: Any, graph: Any, name: str, value: np.ndarray) -> None:
    """An output of the graph that depends on no input."""
    tensor = onnx.numpy_helper.from_array(np.ascontiguousarray(value), f"{name}_value")
    graph.graph.initializer.append(tensor)
    graph.graph.node.append(onnx.helper.make_node("Identity", [f"{name}_value"], [name]))
    graph.graph.output.append(onnx.helper.make_tensor_value_info(name, tensor.data_type, value.shape))
