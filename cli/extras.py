"""The heavy packages of a command: imported whole, and what it says when the install lacks them."""

from __future__ import annotations

import importlib
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sparcode_es.errors import MissingExtraError


def need_training() -> None:
    """Raise `MissingExtraError` unless torch can be imported."""
    _need("torch", "scipy")


def need_tables() -> None:
    """Raise `MissingExtraError` unless pandas and pyarrow can be imported."""
    _need("pandas", "pyarrow")


def _need(*packages: str) -> None:
    with late_interrupt():
        for package in packages:
            try:
                importlib.import_module(package)
            except ImportError as error:
                raise MissingExtraError.of(f"this needs {package}", "train") from error


@contextmanager
def late_interrupt() -> Iterator[None]:
    """Keep Ctrl-C until the block has ended, and raise `KeyboardInterrupt` then.

    torch's import calls Python from C++; an exception there ends the process with SIGABRT. Where Ctrl-C is ignored or somebody
    else's, and in other threads than the main one, nothing changes.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler or (
        threading.current_thread() is not threading.main_thread()
    ):
        yield
        return
    came: list[int] = []

    def note(number: int, frame: Any) -> None:
        came.append(number)

    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if came:
        raise KeyboardInterrupt
