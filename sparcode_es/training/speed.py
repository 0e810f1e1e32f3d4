"""What makes a training fast on a CPU without changing what it computes, or only its last digits."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator
from typing import Any

import torch

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
MIB = 1 << 20


def keep_freed_memory() -> None:
    """Ask the C library to keep what tensors free, and torch to take large ones in huge pages.

    A step frees and takes the same tensors as the one before; given back in between, every page is zeroed and mapped anew,
    a fifth of a step's time. Where the C library is not glibc, nothing happens. Torch reads its variable at its first
    allocation, so that a process which has made tensors before keeps its pages.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:
        for option, value in ((M_MMAP_THRESHOLD, 32 * MIB), (M_TRIM_THRESHOLD, 512 * MIB), (M_TOP_PAD, 64 * MIB)):
            mallopt(option, value)


@contextlib.contextmanager
def fast_matmul(enabled: bool) -> Iterator[None]:
    """Matrix products of float32 in bfloat16 (CPU) or TF32 (CUDA) where the processor has units for it, and torch (2.9)
    can be told to."""
    backends = {"bf16": torch.backends.mkldnn, "tf32": torch.backends.cuda} if enabled else {}
    before: list[tuple[Any, str]] = []
    for kind, backend in backends.items():
        matmul: Any = getattr(backend, "matmul", None)
        if hasattr(matmul, "fp32_precision"):
            before.append((matmul, matmul.fp32_precision))
            matmul.fp32_precision = kind
    try:
        yield
    finally:
        for matmul, precision in before:
            matmul.fp32_precision = precision
