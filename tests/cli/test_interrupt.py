"""Ctrl-C while torch is imported: it waits until the import has ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sparcode_es_cli.extras import late_interrupt

TORCH = """
import os, signal, sys
os.kill(os.getpid(), signal.SIGINT)
for _ in range(1000):
    pass
print("torch is whole", file=sys.stderr)
"""


@pytest.fixture(autouse=True)
def interrupts_are_heard() -> Iterator[None]:
    """SIGINT as a terminal's child has it: who runs the tests in the background ignores it, and children inherit that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(sys.platform == "win32", reason="a process of Windows cannot send itself SIGINT")
def test_an_interrupt_of_the_import_ends_the_command_after_it(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text(TORCH)
    done = subprocess.run(
        [sys.executable, "-m", "sparcode_es_cli", "train", "--data", str(tmp_path), "--out", str(tmp_path / "out")],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr.split()) == (130, ["torch", "is", "whole", "interrupted"])


@pytest.mark.skipif(sys.platform == "win32", reason="a process of Windows cannot send itself SIGINT")
def test_an_interrupt_while_the_command_itself_is_imported(tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text(TORCH)
    command = [sys.executable, "-m", "sparcode_es_cli", "query"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "interrupted\n")


def test_an_interrupt_is_kept_and_then_raised() -> None:
    reached = False
    with pytest.raises(KeyboardInterrupt), late_interrupt():
        signal.raise_signal(signal.SIGINT)
        reached = True
    assert reached
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_ignored_interrupt_stays_ignored_and_other_threads_are_left_alone() -> None:
    with late_interrupt():
        pass
    old = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with late_interrupt():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, old)
    seen: list[object] = []

    def other() -> None:
        with late_interrupt():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]
