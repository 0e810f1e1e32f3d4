"""Folders of memory-mapped arrays beside a manifest: what a data folder and a postings artifact have in common."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sparcode_es.errors import SparcodeError
from sparcode_es.files import FileSum, parse_json, sha256_of


def unreadable(file: Path, error: Exception, advice: str) -> str:
    """What to say of a file that cannot be read: `advice`, unless only its rights are in the way."""
    if isinstance(error, PermissionError):
        return f"cannot read {file}: {error.strerror}; let this account read it"
    return f"cannot read {file}: {error}; {advice}"


@dataclass(frozen=True)
class ArrayFolder:
    """Reads arrays of a folder, and says what is wrong with them as `error`, with `advice` at the end."""

    path: Path
    error: type[SparcodeError]
    advice: str

    def array(self, name: str, dtype: type, shape: tuple[int, ...] | None) -> np.ndarray:
        """The mapped array NAME.npy. Raises `error` unless it can be read and has this type and shape (None: any)."""
        file = self.path / f"{name}.npy"
        try:
            array: np.ndarray = np.load(file, mmap_mode="r", allow_pickle=False)
        except Exception as error:  # numpy raises whatever its parser of headers meets
            raise self.error(unreadable(file, error, self.advice)) from error
        if array.dtype != dtype or shape not in (None, array.shape):
            found = f"{array.dtype} {list(array.shape)}"
            wanted = f"{np.dtype(dtype)} {'' if shape is None else list(shape)}".rstrip()
            raise self.error(f"{file} is damaged: it holds {found}, not {wanted}; {self.advice}")
        # A plain view of the same mapped memory: slicing a np.memmap is several times slower.
        return np.asarray(array)

    def manifest(self, content: bytes, keys: Set[str], version: int, foreign: str) -> dict[str, Any]:
        """What its manifest.json says. Raises `error` for one of another version, or without these keys, which is `foreign`."""
        try:
            manifest = parse_json(content)
        except ValueError as error:
            raise self.error(unreadable(self.path / "manifest.json", error, self.advice)) from error
        if not isinstance(manifest, dict) or not manifest.keys() >= keys:
            raise self.error(foreign)
        if manifest["schema_version"] != version:
            found = manifest["schema_version"]
            raise self.error(f"{self.path} has schema version {found}, this release reads {version}; {self.advice}")
        return manifest

    def check(self, files: Mapping[str, FileSum], verify: bool) -> None:
        """Raise `error` unless every file of a manifest is there in its size, and with `verify` has its SHA-256, and every array
        of the folder is in the manifest."""
        for file in sorted(self.path.glob("*.npy")):
            if file.name not in files:
                raise self.error(
                    f"{file} is not in the manifest beside it; remove it if it is your own, or {self.advice}"
                )
        for name, expected in files.items():
            file = self.path / name
            if not file.is_file():
                raise self.error(f"{self.path} is incomplete: {name} is missing; {self.advice}")
            size = file.stat().st_size
            if size != expected.bytes:
                raise self.error(f"{file} is damaged: {size} bytes, not {expected.bytes}; {self.advice}")
            if verify and sha256_of(file) != expected.sha256:
                raise self.error(f"{file} is damaged: its SHA-256 is not the manifest's; {self.advice}")
