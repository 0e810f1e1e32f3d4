"""Deezer's record on a server on this machine: the files come whole and with the record's checksum, or not at all."""

from __future__ import annotations

import hashlib
import io
import json
import urllib.error
from collections.abc import Callable
from email.message import Message
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import pytest

from sparcode_es.data.fetch import Fetcher
from sparcode_es.data.fetch_deezer import RECORD, fetch_deezer
from sparcode_es.errors import DataError

KINDS = [f"user_features_{part}_{kind}.parquet" for part in ("train", "validation", "test") for kind in ("svd", "mf")]
NAMES = ["song_embeddings.parquet", "user_embeddings.parquet", *KINDS]


class Answer(io.BytesIO):
    """As much of an HTTP response as the fetcher uses."""

    headers = Message()


def record(names: list[str], md5: Callable[[str], str] = lambda name: hashlib.md5(name.encode()).hexdigest()) -> bytes:
    files = [
        {"key": name, "size": len(name), "checksum": f"md5:{md5(name)}", "links": {"self": f"https://there/{name}"}}
        for name in names
    ]
    return json.dumps({"id": 5121674, "files": files}).encode()


def fetcher(cache: Path, answer: bytes, asked: list[str]) -> Fetcher:
    def opener(url: str, timeout: float) -> HTTPResponse:
        asked.append(url)
        found: Any = Answer(answer if url == RECORD else url.rsplit("/", 1)[1].encode())
        return found

    return Fetcher(cache, opener=opener)


def test_the_five_files_of_a_kind_come_once(tmp_path: Path) -> None:
    asked: list[str] = []
    there = fetcher(tmp_path, record(NAMES), asked)
    notes: list[str] = []
    folder = fetch_deezer(there, "mf", notes.append)
    expected = sorted(name for name in NAMES if not name.endswith("_svd.parquet"))
    assert sorted(path.name for path in folder.iterdir()) == expected
    assert all(path.read_text() == path.name for path in folder.iterdir())
    assert len(notes) == 5
    fetch_deezer(there, "mf", notes.append)
    assert asked.count(RECORD) == 2
    assert len(asked) == 7
    assert len(list(fetch_deezer(there, "svd", notes.append).iterdir())) == 8


def test_an_early_release_has_one_file_a_part(tmp_path: Path) -> None:
    names = [*NAMES[:2], *(f"user_features_{part}.parquet" for part in ("train", "validation", "test"))]
    folder = fetch_deezer(fetcher(tmp_path, record(names), []), "mf", lambda text: None)
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"<html>please log in</html>", "did not answer with a record"),
        (b'{"files": [{"key": "x"}]}', "did not answer with a record"),
        (record(NAMES[:4]), "has no file user_features_validation_svd.parquet"),
        (record(NAMES, lambda name: "0" * 32), "wrong checksum"),
    ],
)
def test_other_answers_are_one_sentence(tmp_path: Path, answer: bytes, words: str) -> None:
    with pytest.raises(DataError, match=words):
        fetch_deezer(fetcher(tmp_path, answer, []), "svd", lambda text: None)
    assert not list(tmp_path.rglob("*.parquet"))


def test_no_network_is_one_sentence(tmp_path: Path) -> None:
    def opener(url: str, timeout: float) -> HTTPResponse:
        raise urllib.error.URLError("no route")

    with pytest.raises(DataError, match=f"cannot download {RECORD}: no route"):
        fetch_deezer(Fetcher(tmp_path, opener=opener), "svd", lambda text: None)
