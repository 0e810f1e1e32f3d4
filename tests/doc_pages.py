"""The fenced blocks of README and docs, each with the mark that stands above it.

`<!-- test: STORY -->`: the blocks of one story on a page are run, in order, in one folder. `<!-- not run: WHY -->`: says why not.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from own_variables import own_variables

ROOT = Path(__file__).resolve().parent.parent
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text("utf-8")
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
}
RUN = ("sh", "python", "console")
FENCE = re.compile(
    r"(?:^<!-- (?P<mark>test|not run): (?P<words>.+?) -->\n)?"
    r"^```(?P<language>\w+)(?: title=\"(?P<title>[\w.]+)\")?\n(?P<text>.*?)^```",
    re.DOTALL | re.MULTILINE,
)
URL = "http://localhost:9200"


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    page: str
    language: str
    text: str
    story: str | None
    excuse: str | None
    title: str | None


def blocks(page: str) -> list[Block]:
    """The blocks of a page that could be run, in order."""
    found = []
    for each in FENCE.finditer(PAGES[page]):
        marked = {each["mark"]: each["words"]}
        kept = (each["text"], marked.get("test"), marked.get("not run"), each["title"])
        found.append(Block(page, each["language"], *kept))
    return [each for each in found if each.language in RUN]


def story(page: str, name: str) -> list[Block]:
    """The blocks of one story of a page."""
    return [each for each in blocks(page) if each.story == name]


def reader_environment() -> dict[str, str]:
    """This process's environment without what names a server or a setting of ours."""
    own = own_variables()
    return {name: value for name, value in os.environ.items() if name not in own}


def run(block: Block, folder: Path, url: str = URL) -> str:
    """Run a block as a reader would, in `folder`, on the server at `url`: what it prints."""
    text = block.text.replace(URL, url)
    if block.title is not None:
        (folder / block.title).write_text(text, encoding="utf-8")
        return ""
    environment = reader_environment()
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    shell = ["bash", "-euo", "pipefail", "-c", text]
    command = shell if block.language == "sh" else [sys.executable, "-W", "error", "-c", text]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{block.page}:\n{text}\n{done.stdout}\n{done.stderr}"
    return done.stdout
