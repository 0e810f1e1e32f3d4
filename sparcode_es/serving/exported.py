"""Histories → codes from an exported encoder: ONNX Runtime and numpy, no torch.

The file is an ONNX model of the tokenizer (Eq. 4-6), with codebooks and item ids beside it as constants and what else the codes
depend on as metadata. Its last bytes are the SHA-256 of those before them, in a field that other readers of ONNX pass over.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sparcode_es.codes import LatestItems, UserCodes
from sparcode_es.errors import CheckpointError, MissingExtraError
from sparcode_es.files import parse_json
from sparcode_es.models.few import codes_of, padded_histories
from sparcode_es.serving.histories import item_numbers, merge_codes, with_item_codes
from sparcode_es.tables import StringTable

FORMAT = "sparcode-es encoder 2"
HEADER = "sparcode_es"
"""The metadata's key."""
DIGEST = b"\x72\x4a\x0a\x06sha256\x12\x40"
"""Field 14 of an ONNX model, an entry of metadata_props: the key `sha256`, and 64 hexadecimal digits that follow."""


def sealed(content: bytes) -> bytes:
    """A serialised ONNX model with its digest behind it."""
    return content + DIGEST + hashlib.sha256(content).hexdigest().encode()


def _is_whole(content: bytes) -> bool:
    body = content[: -len(DIGEST) - 64]
    return sealed(body) == content


class ExportedEncoder:
    """Item ids → codes, from a file of `sparcode-es export`. Called like `HistoryEncoder`."""

    def __init__(self, session: Any, header: dict[str, Any]) -> None:
        """session: an `onnxruntime.InferenceSession`; header: the metadata."""
        self._session, self._header = session, header
        self.hashes = str(header["model_hash"]), str(header["codebook_hash"])
        """Of the model and of its codebooks."""
        self.shared_heads = bool(header["shared_heads"])
        self._most, self._per_token = int(header["max_length"]), header["codes_per_token"]
        self._latest = [LatestItems(**kind) for kind in header["latest_items"]]
        anything = {"histories": np.zeros((1, 1), dtype=np.int64), "positions": np.zeros(1, dtype=np.int64)}
        self._codebooks, ids = session.run(["codebooks", "item_ids"], anything)
        if not isinstance(self._per_token, int | None) or not 0 < (self._per_token or 1) <= self._codebooks.shape[2]:
            raise ValueError(f"codes_per_token is {self._per_token!r}, for codebooks {list(self._codebooks.shape)}")
        if not 0 < self._most < 1 << 20 or self._codebooks.ndim != 4 or not np.isfinite(self._codebooks).all():
            raise ValueError("max_length or the codebooks are damaged")
        self.item_ids = StringTable.build(parse_json(line) for line in bytes(ids).decode().splitlines())

    @classmethod
    def open(cls, path: Path, threads: int = 1) -> ExportedEncoder:
        """Raises `CheckpointError` for a file that `sparcode-es export` did not write whole, `MissingExtraError` without ONNX
        Runtime. threads: that one call may use; one is fastest for one history."""
        try:
            import onnxruntime
        except ImportError as error:
            raise MissingExtraError.of("this needs onnxruntime", "onnx") from error
        if not path.is_file():
            raise CheckpointError(f"there is no encoder at {path}; `sparcode-es export` writes one")
        content = path.read_bytes()
        if not _is_whole(content):
            raise CheckpointError(
                f"{path} is not a whole encoder (truncated, damaged, or not written by `sparcode-es export`); export it again"
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = threads, 3
        try:
            session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
            header = parse_json(session.get_modelmeta().custom_metadata_map[HEADER])
            if header["format"] != FORMAT:
                raise ValueError(f"its format is {header['format']}, not {FORMAT}")
            return cls(session, header)
        except Exception as error:  # ONNX Runtime's own errors have no common base but this
            raise CheckpointError(f"the encoder {path} cannot be used: {error}; export it again") from error

    def tokens(self, offsets: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Eq. 6 of n histories in CSR form, none of them empty: float32 [n, K, D]."""
        rows = np.arange(len(offsets) - 1)
        histories, positions = padded_histories(offsets, items, rows, self._most)
        try:
            tokens: np.ndarray = self._session.run(["tokens"], {"histories": histories, "positions": positions})[0]
        except Exception as error:  # as above
            raise CheckpointError(f"the encoder cannot encode a history: {error}; export it again") from error
        return tokens

    def encode(self, offsets: np.ndarray, items: np.ndarray) -> UserCodes:
        """The codes of n histories in CSR form (item numbers, oldest first), none of them empty."""
        codes, boosts = codes_of(self.tokens(offsets, items), self._codebooks, self._per_token)
        codes, boosts = with_item_codes(self._latest, offsets, items, codes, boosts)
        return merge_codes(codes, boosts, np.arange(len(codes)), len(codes))

    def __call__(self, items: Sequence[str]) -> UserCodes:
        """The codes of one user who is not in the index, from the ids of their items, oldest first."""
        numbers = item_numbers(self.item_ids, items)
        return self.encode(np.array([0, len(numbers)]), numbers)
