"""The speed benchmarks' JSON files, read back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retrieval.record import Row


@dataclass(frozen=True)
class Record:
    """One file."""

    name: str
    content: dict[str, Any]

    @property
    def rows(self) -> list[Row]:
        """Its rows, one an answer of a system."""
        rows: list[Row] = self.content.get("rows", [])
        return rows

    @property
    def items(self) -> int:
        """How many items its recipe has, 0 for a file without one."""
        return int(self.content.get("recipe", {}).get("items", 0))

    def pick(self, system: str, ask: str = "bare", threads: int = 1, setting: str | None = None) -> Row | None:
        """The row of one client of a system whose name begins so, None where there is none."""
        return next(self.picked(system, ask, threads, setting), None)

    def picked(self, system: str, ask: str = "bare", threads: int = 1, setting: str | None = None) -> Iterator[Row]:
        """All such rows."""
        for row in self.rows:
            same = row["system"].startswith(system) and row["ask"] == ask and row["threads"] == threads
            if same and not row.get("crowd") and setting in (None, row["setting"]):
                yield row


class Results:
    """All `speed-*.json` of a folder."""

    def __init__(self, folder: Path) -> None:
        files = sorted(folder.glob("speed-*.json"))
        self.records = [Record(file.stem, json.loads(file.read_text(encoding="utf-8"))) for file in files]

    def local(self, items: int) -> Record | None:
        """The part `local` of a size."""
        return self._named(f"speed-retrieval-{items}-local")

    def servers(self, items: int) -> list[Record]:
        """The parts of a size that asked servers."""
        return [each for each in self.records if each.name.startswith(f"speed-retrieval-{items}-es-")]

    def sweeps(self) -> list[Record]:
        """Sparsity and clauses."""
        return [each for each in self.records if each.name.endswith("-sweeps")]

    def clusters(self) -> list[Record]:
        """Servers of several nodes."""
        return [each for each in self.records if each.name.endswith("-cluster")]

    def uploads(self) -> list[Record]:
        """Uploads, the most items first."""
        found = [each for each in self.records if each.name.startswith("speed-upload-")]
        return sorted(found, key=lambda each: -each.items)

    def retrieval(self) -> list[Record]:
        """All parts `local` and of servers, by items."""
        others = ("-sweeps", "-cluster")
        found = [e for e in self.records if e.name.startswith("speed-retrieval-") and not e.name.endswith(others)]
        return sorted(found, key=lambda each: (each.items, each.name))

    def named(self, beginning: str) -> list[Record]:
        """Files of other speed benchmarks."""
        return [each for each in self.records if each.name.startswith(beginning)]

    def _named(self, name: str) -> Record | None:
        return next((each for each in self.records if each.name == name), None)
