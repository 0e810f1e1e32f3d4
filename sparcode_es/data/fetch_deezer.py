"""Fetching Deezer's cold-start data: the record on Zenodo names its files and their MD5 values; checked, cached."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sparcode_es.data.deezer_files import PARTS, SONGS, USERS, Embeddings, feature_names
from sparcode_es.data.fetch import Fetcher
from sparcode_es.errors import DataError

RECORD = "https://zenodo.org/api/records/5121674"


def fetch_deezer(fetcher: Fetcher, embeddings: Embeddings, note: Callable[[str], None], record: str = RECORD) -> Path:
    """The folder in the cache with the files of one kind of embeddings, each downloaded if it is not there and whole.

    No checksum is built in: each comes from the record, over the same connection as the file. Raises `DataError` when Zenodo
    cannot be reached, or the record does not have the files.
    """
    listed = _listed(fetcher.text(record), record)
    folder = fetcher.cache / "deezer"
    for name in _wanted(listed, embeddings, record):
        entry = listed[name]
        note(f"{name}: {entry['megabytes']:,.0f} MB")
        fetcher.file(entry["links"]["self"], folder / name, entry["checksum"].removeprefix("md5:"))
    return folder


def _listed(text: str, record: str) -> dict[str, dict[str, Any]]:
    """File name → its entry in the record."""
    try:
        found = {file["key"]: {**file, "megabytes": file["size"] / 1e6} for file in json.loads(text)["files"]}
        wrong = [
            name for name, file in found.items() if not file["checksum"].startswith("md5:") or not file["links"]["self"]
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{record} did not answer with a record of Zenodo; download its files by hand") from error
    if wrong:
        raise DataError(f"{record} gives no MD5 for {wrong[0]}; download its files by hand and import the folder")
    return found


def _wanted(listed: dict[str, dict[str, Any]], embeddings: Embeddings, record: str) -> list[str]:
    """The five files to download, by name; an early release has no users' files for each kind."""
    names = [SONGS, USERS]
    for part in PARTS:
        choices = feature_names(part, embeddings)
        names.append(next((name for name in choices if name in listed), choices[0]))
    missing = [name for name in names if name not in listed]
    if missing:
        raise DataError(f"{record} has no file {missing[0]}; it has: {', '.join(sorted(listed))}")
    return names
