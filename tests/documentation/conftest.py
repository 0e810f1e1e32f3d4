"""The tutorial's shop, made and trained once by the tutorial's own commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from doc_pages import run, story


@pytest.fixture(scope="session")
def tutorial(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The folder, empty before, and what each block of the tutorial printed."""
    folder = tmp_path_factory.mktemp("tutorial")
    return folder, [run(block, folder) for block in story("docs/tutorial.md", "tutorial")]
