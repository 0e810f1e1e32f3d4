"""Features of users and items beside the item sequence: categorical, numerical, dense vectors, lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

import numpy as np
import torch
from torch import Tensor, nn

from sparcode_es.data.manifest import Kind, Role, Side
from sparcode_es.errors import MismatchError


@dataclass(frozen=True)
class FeatureSpec:
    """One feature, as a model needs to know it.

    `size` is the vocabulary with 0 for unknown (categorical, list), 1 (numerical) or the dimension (vector); `longest` is
    the width of a list feature's padded table.
    """

    name: str
    kind: Kind
    size: int
    longest: int = 1
    role: Role = "input"

    @property
    def key(self) -> str:
        """The name in a module, where a dot is not allowed and `type` or `items` mean something else."""
        return "of " + quote(self.name, safe="").replace(".", "%2E")

    @property
    def integral(self) -> bool:
        """Whether the values are numbers of a vocabulary."""
        return self.kind in ("categorical", "list")

    @property
    def width(self) -> int:
        """Values a row."""
        return self.longest if self.kind == "list" else self.size if self.kind == "vector" else 1


def inputs(specs: Sequence[FeatureSpec]) -> tuple[FeatureSpec, ...]:
    """The features that may be read, which targets may not."""
    return tuple(spec for spec in specs if spec.role == "input")


class FeatureTables(nn.Module):
    """The features of one side (users or items), a table each, kept as buffers.

    They are in the checkpoint, so that it can encode without the data folder, unless they are not `persistent`: then they
    are loaded from the data folder each time. Row -1 stands for somebody unknown. Vectors are scaled to a mean square of 1
    over all rows that have one when the training begins, those of validation and test users too: pretrained embeddings come in
    any size.
    """

    def __init__(self, side: Side, specs: Sequence[FeatureSpec], rows: int, persistent: bool = True) -> None:
        super().__init__()
        self.side, self.specs, self.persistent = side, inputs(specs), persistent
        self.loaded = persistent
        for spec in self.specs:
            dtype = torch.int32 if spec.integral else torch.float32
            table = torch.zeros(rows if persistent else 0, spec.width, dtype=dtype)
            self.register_buffer(f"table_{spec.key}", table, persistent=persistent)
            if spec.kind == "vector":
                self.register_buffer(f"scale_{spec.key}", torch.ones(()))

    @property
    def rows(self) -> int:
        """How many rows its tables hold; 0 without features."""
        return len(getattr(self, f"table_{self.specs[0].key}")) if self.specs else 0

    def load_tables(self, tables: Mapping[str, np.ndarray]) -> None:
        """Fill the feature tables: name → array [rows, width]."""
        for spec in self.specs:
            table: Tensor = getattr(self, f"table_{spec.key}")
            values = torch.from_numpy(np.array(tables[spec.name])).reshape(-1, spec.width)
            if self.persistent:
                table.copy_(values)
            else:
                setattr(self, f"table_{spec.key}", values.to(table))
        self.loaded = True

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *args: object) -> None:
        """ValueError for a table with numbers that are not of its vocabulary."""
        for spec in self.specs:
            saved = state_dict.get(f"{prefix}table_{spec.key}")
            if spec.integral and saved is not None and saved.numel():
                least, most = int(saved.min()), int(saved.max())
                if not 0 <= least <= most < spec.size:
                    raise ValueError(f"the feature {spec.name} has values {least} to {most}, not 0 to {spec.size - 1}")
        super()._load_from_state_dict(state_dict, prefix, *args)

    def fit_scales(self) -> None:
        """Set the scale of each vector feature from its table; rows of zeros, which are missing, do not count."""
        for spec in self.specs:
            if spec.kind == "vector":
                table: Tensor = getattr(self, f"table_{spec.key}")
                filled = max(1, int(table.any(-1).sum())) * spec.width
                mean_square = float(table.square().sum(dtype=torch.float64)) / filled
                getattr(self, f"scale_{spec.key}").fill_(mean_square**-0.5 if mean_square > 0 else 1.0)

    def values(self, spec: FeatureSpec, rows: Tensor) -> Tensor:
        """The values of rows int64 [...]: int64 or float32 [..., width]; all 0 for row -1."""
        if not self.loaded:
            raise MismatchError(
                "this checkpoint holds no user features; load those of its data folder first (load_user_features)"
            )
        table: Tensor = getattr(self, f"table_{spec.key}")
        known = (rows >= 0).unsqueeze(-1)
        if len(table) == 0:
            return table.new_zeros(*rows.shape, spec.width)
        found = table[rows.clamp(min=0)] * known
        if spec.integral:
            return found.long()
        return found * getattr(self, f"scale_{spec.key}") if spec.kind == "vector" else found


def mean_embedding(embedding: nn.Module, values: Tensor) -> Tensor:
    """The mean embedding of the known values: int64 [..., width] → [..., D]."""
    embedded: Tensor = embedding(values)
    return embedded.sum(-2) / (values > 0).sum(-1, keepdim=True).clamp(min=1)


class FeatureEncoder(FeatureTables):
    """Rows of one side → the sum of their features' embeddings, [n, D]. Eq. 4 and 5's H, summed; 0 for row -1."""

    def __init__(
        self,
        side: Side,
        specs: Sequence[FeatureSpec],
        rows: int,
        dim: int,
        persistent: bool = True,
    ) -> None:
        super().__init__(side, specs, rows, persistent)
        self.dim = dim
        self.layers = nn.ModuleDict({spec.key: feature_layer(spec, dim) for spec in self.specs})

    def forward(self, rows: Tensor) -> Tensor:
        """rows: int64 [...] with -1 for unknown → [..., D]."""
        total = torch.zeros(*rows.shape, self.dim, device=rows.device)
        for spec in self.specs:
            values, layer = self.values(spec, rows), self.layers[spec.key]
            total = total + (mean_embedding(layer, values) if spec.integral else layer(values))
        return total


def feature_layer(spec: FeatureSpec, dim: int) -> nn.Embedding | nn.Linear:
    """A feature's own embedding, 0 for the unknown value, or its projection to D; begun small."""
    layer: nn.Embedding | nn.Linear
    layer = nn.Embedding(spec.size, dim, padding_idx=0) if spec.integral else nn.Linear(spec.width, dim, bias=False)
    nn.init.normal_(layer.weight, std=0.02)
    if spec.integral:
        with torch.no_grad():
            layer.weight[0] = 0
    return layer
