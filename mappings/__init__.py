"""Index bodies, roles and Kibana's saved objects as JSON: what the commands send, and what a person can apply by hand."""

from __future__ import annotations

import importlib.resources
import json
import re
from typing import Any

ROLES = ("reader", "writer", "logger")
KIBANA_VERSIONS = ("7.17", "8", "9")


def load(name: str) -> dict[str, Any]:
    """The settings and mappings of `name`: `items-rank_features`, `items-sparse_vector`, `users` or `codes`; of `queries`,
    the whole index template."""
    body: dict[str, Any] = json.loads(_text(f"{name}.json"))
    return body


def role(kind: str, name: str) -> dict[str, Any]:
    """The body of `PUT _security/role/…` for the alias `name`: `reader` asks it, `writer` loads, swaps and deletes generations,
    `logger` appends to its query log and reads nothing.

    They reach that alias, its companions and their generations, by patterns that no other alias fits, and nothing else.
    """
    escaped = re.sub(r"[^a-z0-9_-]", r"\\\g<0>", name)
    body: dict[str, Any] = json.loads(_text(f"roles/{kind}.json"))
    for part in body["indices"]:
        part["names"] = [pattern.replace("{name}", escaped) for pattern in part["names"]]
    return body


def kibana(name: str, alias: str) -> dict[str, Any]:
    """A template of Kibana's saved objects, `{alias}` in any text of it filled in: `data-views`, `vega/code-usage`, …"""
    body: dict[str, Any] = _filled(json.loads(_text(f"kibana/{name}.json")), alias)
    return body


def vega_names() -> list[str]:
    """The names of the Vega panels, in order."""
    folder = importlib.resources.files(__name__).joinpath("kibana", "vega")
    return sorted(each.name.removesuffix(".json") for each in folder.iterdir() if each.name.endswith(".json"))


def _filled(value: Any, alias: str) -> Any:
    if isinstance(value, dict):
        return {key: _filled(each, alias) for key, each in value.items()}
    if isinstance(value, list):
        return [_filled(each, alias) for each in value]
    return value.replace("{alias}", alias) if isinstance(value, str) else value


def _text(file: str) -> str:
    return importlib.resources.files(__name__).joinpath(file).read_text(encoding="utf-8")
