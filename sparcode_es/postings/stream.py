"""An `.npy` file that is written piece by piece, its length known only at the end."""

from __future__ import annotations

import struct
from pathlib import Path
from types import TracebackType

import numpy as np

HEADER_BYTES = 128


class NpyStream:
    """Appends one-dimensional pieces of one dtype; closing writes the final shape into the header.

    The header has room for it from the start (NPY format 1.0), so nothing is copied. Use as a context manager.
    """

    def __init__(self, path: Path, dtype: type[np.generic]) -> None:
        self._dtype, self._length = np.dtype(dtype), 0
        self._file = path.open("wb")
        self._file.write(self._header())

    def _header(self) -> bytes:
        """Magic, version, length of the text, the text padded with spaces: 128 bytes in all."""
        text = f"{{'descr': '{self._dtype.str}', 'fortran_order': False, 'shape': ({self._length},), }}".encode()
        room = HEADER_BYTES - 10
        return b"\x93NUMPY\x01\x00" + struct.pack("<H", room) + text.ljust(room - 1) + b"\n"

    def __len__(self) -> int:
        return self._length

    def append(self, piece: np.ndarray) -> None:
        """Write a piece [n]."""
        self._file.write(np.ascontiguousarray(piece, dtype=self._dtype).data)
        self._length += len(piece)

    def close(self) -> None:
        """Write the final header and flush."""
        self._file.seek(0)
        self._file.write(self._header())
        self._file.close()

    def __enter__(self) -> NpyStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
