"""Pictures of pages by a headless Chromium."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def chromium() -> str | None:
    """The browser's program, or None."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


def screenshot(url: str, out: Path, width: int = 1000, height: int = 1200, dark: bool = False) -> Path:
    """The top of a page, `height` pixels of it, as a PNG. Raises `RuntimeError` where there is no browser or no picture."""
    program = chromium()
    if program is None:
        raise RuntimeError(f"no browser found; install one of {', '.join(NAMES)}")
    with tempfile.TemporaryDirectory() as profile:
        command = [
            program,
            "--headless=new",
            "--disable-gpu",
            "--hide-scrollbars",
            "--no-first-run",
            f"--user-data-dir={profile}",
            f"--blink-settings=preferredColorScheme={0 if dark else 1}",
            f"--window-size={width},{height}",
            f"--screenshot={out.resolve()}",
            "--virtual-time-budget=5000",
            # Chromium's sandbox does not start as root.
            *(["--no-sandbox"] if os.geteuid() == 0 else []),
            url,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode or not out.exists():
        raise RuntimeError(f"no picture of {url}: {done.stderr[-400:]}")
    return out
