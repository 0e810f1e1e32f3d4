"""Features of users and items beside the item sequence: categorical, numerical, dense vectors, lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from sparcode_es.data.dataset import Role


@dataclass(frozen=True)
class FeatureSpec:
    """One feature, as a model needs to know it.

    `size` is the vocabulary with 0 for unknown (categorical, list), 1 (numerical) or the dimension (vector); `longest` is
    the width of a list feature's padded table.
    """

    name: str
    kind: Literal["categorical", "numerical", "vector", "list"]
    size: int
    longest: int = 1
    role: Role = "input"


def inputs(specs: Sequence[FeatureSpec]) -> tuple[FeatureSpec, ...]:
    """The features that may be read."""
    return tuple(spec for spec in specs if spec.role == "input")


class FeatureEncoder(nn.Module):
    """Rows of one side (users or items) → the sum of their features' embeddings, [n, D]. Eq. 4 and 5's H, summed.

    The feature table is kept in the module (as buffers), so that a checkpoint can encode without the data folder.
    Row -1 stands for somebody unknown: it has no features, and its embedding is 0.
    """

    def __init__(self, side: Literal["user", "item"], specs: Sequence[FeatureSpec], rows: int, dim: int) -> None:
        super().__init__()
        self.side, self.specs, self.dim = side, inputs(specs), dim
        self.layers = nn.ModuleDict()
        for spec in self.specs:
            width = spec.longest if spec.kind == "list" else spec.size if spec.kind == "vector" else 1
            integral = spec.kind in ("categorical", "list")
            table = torch.zeros(rows, width, dtype=torch.int32 if integral else torch.float32)
            self.register_buffer(f"table_{spec.name}", table)
            if integral:
                layer: nn.Embedding | nn.Linear = nn.Embedding(spec.size, dim, padding_idx=0)
                nn.init.normal_(layer.weight, std=0.02)
            else:
                layer = nn.Linear(width, dim, bias=False)
                nn.init.normal_(layer.weight, std=0.02)
            self.layers[spec.name] = layer

    def load_tables(self, tables: Mapping[str, np.ndarray]) -> None:
        """Fill the feature tables: name → array [rows, width]."""
        for spec in self.specs:
            table: Tensor = getattr(self, f"table_{spec.name}")
            table.copy_(torch.from_numpy(np.array(tables[spec.name])).reshape(table.shape))

    def forward(self, rows: Tensor) -> Tensor:
        """rows: int64 [...] with -1 for unknown → [..., D]."""
        known = (rows >= 0).unsqueeze(-1)
        index = rows.clamp(min=0)
        total = torch.zeros(*rows.shape, self.dim, device=rows.device)
        for spec in self.specs:
            values = getattr(self, f"table_{spec.name}")[index]
            if spec.kind in ("categorical", "list"):
                embedded = self.layers[spec.name](values.long())
                count = (values > 0).sum(-1, keepdim=True).clamp(min=1)
                total = total + embedded.sum(-2) / count
            else:
                total = total + self.layers[spec.name](values)
        return total * known
