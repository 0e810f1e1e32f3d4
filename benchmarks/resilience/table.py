"""The fault table of docs/resiliency.md, between its two markers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sparcode_es.files import atomic_write

BEGIN, END = "<!-- fault table -->", "<!-- end -->"
HEAD = (
    "| fault | servers | items | made | lost | wrong | mixed | unhandled | else |\n"
    "|---|---|---:|---:|---:|---:|---:|---:|---|"
)
"""Items: of each of the two artifacts, where it was kept."""


def table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """A line a part and server, and where and when each was measured."""
    lines: list[str] = []
    commits: dict[str, list[str]] = {}
    faults = list(dict.fromkeys(row["fault"] for row in rows.values()))
    for row in sorted(rows.values(), key=lambda row: (faults.index(row["fault"]), row["versions"])):
        counts = " | ".join(f"{row[key]:,}" for key in ("cases", "lost", "wrong", "mixed", "unhandled"))
        more = ", ".join(f"{what} {count:,}" for what, count in row["seen"].items())
        items = f"{row['items']:,}" if "items" in row else ""
        lines.append(f"| {row['fault']} | {', '.join(row['versions'])} | {items} | {counts} | {more} |")
        about, machine = row["environment"], row["environment"]["machine"]
        commits.setdefault(f"{about['date'][:10]}, {machine['cores']} cores ({machine['cpu']})", []).append(
            about["commit"]
        )
    told = "; ".join(f"{where}, commits {', '.join(dict.fromkeys(made))}" for where, made in commits.items())
    return f"{HEAD}\n" + "\n".join(lines) + f"\n\nMeasured {told}, busy with other work meanwhile."


def fill(page: Path, rows: Mapping[str, Mapping[str, Any]]) -> None:
    """Put the table between the markers of `page`."""
    text = page.read_text(encoding="utf-8")
    filled, count = re.subn(
        rf"{BEGIN}\n.*?{END}", lambda found: f"{BEGIN}\n{table(rows)}\n{END}", text, count=1, flags=re.DOTALL
    )
    if count == 0:
        raise ValueError(f"{page} has no markers {BEGIN} and {END}")
    with atomic_write(page, "w") as file:
        file.write(filled)
