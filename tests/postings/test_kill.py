"""SIGKILL in the middle of a build: the old artifact stays whole, a rerun finishes and clears up."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sparcode_es.postings.artifact import Artifact

SCRIPT = Path(__file__).with_name("killed.py")


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["scoring", "prune", "write_manifest"])
def test_killed_while(moment: str, build: Any, tmp_path: Path) -> None:
    old = build()
    arguments = [sys.executable, str(SCRIPT), str(old.path)]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        assert any(line.strip() == moment for line in process.stdout)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert Artifact.open(old.path, verify=True).generation_hash == old.generation_hash
    subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL)
    assert Artifact.open(old.path, verify=True).model_hash == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["postings"]
