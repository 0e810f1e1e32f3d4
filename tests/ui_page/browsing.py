"""The system's Chromium. Not a test module."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from browser import chromium


@contextmanager
def browsing() -> Iterator[Any]:
    """The system's Chromium, driven by playwright. Skips where there is none, fails where SPARCODE_REQUIRE_BROWSER is 1."""
    program = chromium()
    if program is None and os.environ.get("SPARCODE_REQUIRE_BROWSER") != "1":
        pytest.skip("there is no Chromium on the PATH")
    assert program is not None, "SPARCODE_REQUIRE_BROWSER is 1, yet there is no Chromium on the PATH"
    # Root has no sandbox of its own; the pages are ours.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=arguments)
        try:
            yield browser
        finally:
            browser.close()
