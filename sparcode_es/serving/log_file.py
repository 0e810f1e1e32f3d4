"""The query log as a file of JSON lines, rotated by size: for the embedded engine."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from sparcode_es.errors import ConfigError
from sparcode_es.files import storage_errors

LARGEST = 64 << 20
"""Bytes from which on a file is put away."""
KEPT = 5
"""Files put away: NAME.1, the latest, to NAME.5."""


class FileSink:
    """Appends to one file (see `sparcode_es.serving.log.Sink`); one process a file. Only its owner may read it."""

    def __init__(self, path: Path | str, largest: int = LARGEST, kept: int = KEPT) -> None:
        if largest < 1 or kept < 1:
            raise ConfigError(f"a query log's file needs room and one older file at least, not {largest} and {kept}")
        self.path, self.where, self._largest, self._kept = Path(path), str(path), largest, kept

    def write(self, documents: Sequence[bytes]) -> list[str]:
        """Append a line a document, in one write; none is refused. Raises `StorageError`."""
        content = b"".join(document + b"\n" for document in documents)
        with storage_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if self.path.exists() and self.path.stat().st_size + len(content) > self._largest:
                self._rotate()
            with os.fdopen(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "wb") as file:
                file.write(content)
        return []

    def _rotate(self) -> None:
        """The oldest goes, the others move one place."""
        for place in range(self._kept - 1, 0, -1):
            older = self._put_away(place)
            if older.exists():
                older.replace(self._put_away(place + 1))
        self.path.replace(self._put_away(1))

    def _put_away(self, place: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{place}")

    def close(self) -> None:
        """Nothing: the file is opened for each batch."""
