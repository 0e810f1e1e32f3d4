"""Index bodies as JSON: what `index` creates, and what a person can create by hand with curl."""

from __future__ import annotations

import importlib.resources
import json
from typing import Any


def load(name: str) -> dict[str, Any]:
    """The settings and mappings of `name`: `items-rank_features`, `items-sparse_vector`, `users` or `codes`."""
    text = importlib.resources.files(__name__).joinpath(f"{name}.json").read_text(encoding="utf-8")
    body: dict[str, Any] = json.loads(text)
    return body
