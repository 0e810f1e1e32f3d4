"""The site builds without a warning, loads nothing from the network, and shows equations without a script."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from doc_pages import PAGES, ROOT

LOADING = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src"}


class Loads(HTMLParser):
    """What a page loads, and the tags in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        wanted = dict(attrs).get(LOADING.get(tag, ""))
        if wanted:
            self.loaded.append(wanted)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", str(ROOT / ".mkdocs.yml")]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        [*command, "--site-dir", str(out)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def test_every_page_is_there_and_loads_nothing_from_elsewhere(site: Path) -> None:
    pages = {name.removeprefix("docs/").removesuffix(".md") + ".html" for name in PAGES if name.startswith("docs/")}
    assert pages <= {path.relative_to(site).as_posix() for path in site.rglob("*.html")}
    for path in site.rglob("*.html"):
        elsewhere = [each for each in Loads(path.read_text("utf-8")).loaded if re.match(r"(?:\w+:)?//", each)]
        assert elsewhere == [], path
    for path in site.rglob("*.css"):
        assert not re.search(r"url\(['\"]?(?:https?:)?//", path.read_text("utf-8")), path


def test_equations_are_mathml(site: Path) -> None:
    text = (site / "method.html").read_text("utf-8")
    assert Loads(text).tags.count("math") > 20
    assert "arithmatex" not in text
    assert not any("\\" in each for each in re.findall(r"<math.*?</math>", text, re.DOTALL)), (
        "TeX that was not understood"
    )


def test_the_reference_has_signatures_and_texts(site: Path) -> None:
    text = (site / "api.html").read_text("utf-8")
    assert "sparcode_es.serving.recommender.Recommender.recommend" in text
    assert "A page of items for a user that the index knows" in text


@pytest.mark.parametrize("name", PAGES)
def test_external_links_have_their_shape(name: str) -> None:
    for url in re.findall(r"\]\((\w+://[^)\s]*)\)", PAGES[name]):
        assert re.fullmatch(r"https?://[\w.:-]+(/[\w./#?=&%~+-]*)?", url), url
