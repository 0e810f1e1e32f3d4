"""Index bodies and roles as JSON: what `index` creates and asks for, and what a person can create by hand with curl."""

from __future__ import annotations

import importlib.resources
import json
import re
from typing import Any

ROLES = ("reader", "writer")


def load(name: str) -> dict[str, Any]:
    """The settings and mappings of `name`: `items-rank_features`, `items-sparse_vector`, `users` or `codes`."""
    body: dict[str, Any] = json.loads(_text(f"{name}.json"))
    return body


def role(kind: str, name: str) -> dict[str, Any]:
    """The body of `PUT _security/role/…` for the alias `name`: `reader` asks it, `writer` loads, swaps and deletes generations.

    Both reach that alias, its companions and their generations, by a pattern that no other alias fits, and nothing else.
    """
    escaped = re.sub(r"[^a-z0-9_-]", r"\\\g<0>", name)
    body: dict[str, Any] = json.loads(_text(f"roles/{kind}.json"))
    for part in body["indices"]:
        part["names"] = [pattern.replace("{name}", escaped) for pattern in part["names"]]
    return body


def _text(file: str) -> str:
    return importlib.resources.files(__name__).joinpath(file).read_text(encoding="utf-8")
