"""The JSON of a part of a run: rows, recipe, machine, versions, the command."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from environment import command_line, describe_environment, peak_mib

from retrieval.recipe import Recipe
from sparcode_es.files import atomic_write

Row = dict[str, Any]


def write_record(out: Path, name: str, recipe: Recipe, rows: list[Row], **more: Any) -> Path:
    """Write OUT/NAME.json."""
    environment = describe_environment(threads=os.cpu_count())
    head = {"benchmark": name, "command": command_line(), "environment": environment, "recipe": asdict(recipe)}
    content = head | {"client_peak_mebibytes": peak_mib(), **more, "rows": rows}
    out.mkdir(parents=True, exist_ok=True)
    with atomic_write(out / f"{name}.json", "w") as file:
        file.write(json.dumps(content, indent=1) + "\n")
    return out / f"{name}.json"
