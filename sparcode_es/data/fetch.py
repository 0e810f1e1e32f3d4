"""Fetching MovieLens: GroupLens's archives with their MD5, or for 100K RecBole's wheel; checked, cached, in one piece."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import IO

from tqdm import tqdm

from sparcode_es.errors import DataError
from sparcode_es.files import atomic_write, sha256_of, storage_errors

GROUPLENS = "https://files.grouplens.org/datasets/movielens"
ARCHIVE_MD5 = {
    "ml-100k": "0e33842e24a9c977be4e0107933c0723",
    "ml-1m": "c4d9eecfca2ab87c1945afe126590906",
    "ml-10m": "ce571fd55effeba0271552578f2648bd",
}
"""The MD5 values that GroupLens publishes beside its archives."""
WHEEL = "recbole==1.2.1"
WHEEL_NAME = "recbole-1.2.1-py3-none-any.whl"
WHEEL_SHA256 = "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407"
BLOCK = 1 << 16

Opener = Callable[[str, float], HTTPResponse]
Runner = Callable[[list[str]], "subprocess.CompletedProcess[str]"]


def open_url(url: str, timeout: float) -> HTTPResponse:
    """The default opener: urllib, which follows the proxy variables of the environment."""
    response: HTTPResponse = urllib.request.urlopen(url, timeout=timeout)
    return response


def run_pip(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """The default runner: this interpreter's pip, with whatever index and proxy it is configured for."""
    command = [sys.executable, "-m", "pip", *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    except subprocess.TimeoutExpired as error:
        raise DataError("pip did not finish a download within ten minutes; check the network and try again") from error


@dataclass(frozen=True)
class Fetcher:
    """Where archives come from and where they are kept. The opener and the runner are replaceable."""

    cache: Path
    base_url: str = GROUPLENS
    opener: Opener = open_url
    pip: Runner = run_pip
    timeout: float = 30.0
    """Seconds without a byte until a download is given up."""

    def archive(self, name: str, note: Callable[[str], None]) -> Path:
        """The data set's archive in the cache, downloaded if it is not there or fails its checksum.

        `note` is told why ml-100k comes from the wheel. Raises `DataError` when no source gives the right file.
        """
        if name not in ARCHIVE_MD5:
            raise DataError(f"there is no data set {name!r}; there are: {', '.join(ARCHIVE_MD5)}")
        target, digest = self.cache / f"{name}.zip", ARCHIVE_MD5[name]
        if target.is_file() and _md5_of(target) == digest:
            return target
        wheel = self.cache / WHEEL_NAME
        if name == "ml-100k" and wheel.is_file() and sha256_of(wheel) == WHEEL_SHA256:
            return wheel
        try:
            self.download(f"{self.base_url}/{name}.zip", target, digest)
        except DataError as error:
            if name != "ml-100k":
                raise
            note(f"{error}; taking ml-100k out of the package {WHEEL} instead")
            return self.wheel()
        return target

    def file(self, url: str, target: Path, md5: str) -> Path:
        """`target`, downloaded from `url` if it is not there or fails its checksum."""
        if not target.is_file() or _md5_of(target) != md5:
            self.download(url, target, md5)
        return target

    def text(self, url: str) -> str:
        """A small document. Raises `DataError` when it cannot be had."""
        try:
            with self.opener(url, self.timeout) as response:
                return response.read().decode("utf-8", "replace")
        except urllib.error.HTTPError as error:
            error.close()
            raise DataError(f"{url} answered {error.code} ({error.reason})") from error
        except (OSError, HTTPException) as error:
            raise DataError(f"cannot download {url}: {getattr(error, 'reason', None) or error}") from error

    def download(self, url: str, target: Path, md5: str) -> None:
        """Stream `url` into `target`, which appears only whole and with the right MD5. Raises `DataError` otherwise."""
        with atomic_write(target) as file:
            try:
                found = self._stream(url, file)
            except urllib.error.HTTPError as error:
                error.close()
                raise DataError(f"{url} answered {error.code} ({error.reason})") from error
            except (OSError, HTTPException) as error:
                raise DataError(f"cannot download {url}: {getattr(error, 'reason', None) or error}") from error
            if found != md5:
                raise DataError(f"{url} came with the wrong checksum: MD5 {found}, not {md5}")

    def _stream(self, url: str, file: IO[bytes]) -> str:
        """Write what `url` gives to `file`; its MD5."""
        digest = hashlib.md5(usedforsecurity=False)
        with self.opener(url, self.timeout) as response:
            length = int(response.headers.get("Content-Length") or 0)
            bar = tqdm(total=length or None, unit="B", unit_scale=True, desc=url.rsplit("/", 1)[-1], disable=None)
            received = 0
            with bar:
                while block := response.read(BLOCK):
                    file.write(block)
                    digest.update(block)
                    received += len(block)
                    bar.update(len(block))
        if length and received != length:
            raise DataError(f"{url} broke off after {received:,} of {length:,} bytes; try again")
        return digest.hexdigest()

    def wheel(self) -> Path:
        """RecBole's wheel in the cache, by pip's own download, so that mirrors and proxies work."""
        target = self.cache / WHEEL_NAME
        with storage_errors(self.cache):
            self.cache.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".pip-", dir=self.cache) as folder:
                options = [
                    "--no-deps",
                    "--only-binary=:all:",
                    "--disable-pip-version-check",
                    "--quiet",
                    "--dest",
                    folder,
                ]
                done = self.pip(["download", *options, WHEEL])
                got = Path(folder) / WHEEL_NAME
                if done.returncode != 0 or not got.is_file():
                    reason = (done.stderr.strip().splitlines() or ["it gave no reason"])[-1]
                    raise DataError(f"pip could not download {WHEEL}: {reason}")
                if (found := sha256_of(got)) != WHEEL_SHA256:
                    raise DataError(f"pip's {WHEEL_NAME} has the wrong SHA-256: {found}, not {WHEEL_SHA256}")
                got.replace(target)
        return target


def default_cache() -> Path:
    """`$XDG_CACHE_HOME/sparcode-es`, or `~/.cache/sparcode-es`."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "sparcode-es"


def _md5_of(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()
