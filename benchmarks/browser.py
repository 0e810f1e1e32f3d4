"""A headless Chromium for pictures of pages: the one that the system has, driven by playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome")


def find_chromium() -> str | None:
    """The browser's path: `CHROMIUM`, or the first of its names on the PATH."""
    named = os.environ.get("CHROMIUM")
    return named or next((path for name in NAMES if (path := shutil.which(name))), None)


@contextmanager
def chromium() -> Iterator[Any]:
    """A running browser (playwright's `Browser`). Raises `FileNotFoundError` where there is none."""
    from playwright.sync_api import sync_playwright

    path = find_chromium()
    if path is None:
        raise FileNotFoundError(
            "there is no Chromium: install it (Debian: apt-get install chromium), or name it in CHROMIUM"
        )
    # Root has no sandbox of its own; the pages are ours.
    arguments = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=arguments)
        try:
            yield browser
        finally:
            browser.close()


def screenshot(url: str, out: Path | str, width: int = 1440, height: int = 900, dark: bool = False) -> Path:
    """Write a picture of a page, as it is once it has loaded and is still; where it lies."""
    with chromium() as browser:
        page = browser.new_page(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce",
        )
        page.goto(url, wait_until="networkidle")
        page.screenshot(path=str(out))
    return Path(out)
