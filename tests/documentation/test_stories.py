"""Every command and every Python block of README and docs is run, or says why not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from doc_pages import PAGES, blocks, run, story

KNOWN = {"own-data", "elasticsearch", "tutorial", "tutorial-elasticsearch", "shop", "shop-elasticsearch"}
CONSOLE = {"console rank_features", "console sparse_vector"}
SHOP = [page for page in PAGES if story(page, "shop")]
ON_SERVERS = [page for page in PAGES if story(page, "shop-elasticsearch")]


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_run_or_says_why_not(page: str) -> None:
    for block in blocks(page):
        assert block.story in KNOWN | CONSOLE or block.excuse, block.text


def copied(tutorial: tuple[Path, list[str]], folder: Path) -> Path:
    return shutil.copytree(tutorial[0], folder / "shop")


@pytest.mark.slow
def test_the_tutorial_from_an_empty_folder(tutorial: tuple[Path, list[str]]) -> None:
    folder, printed = tutorial
    text = "\n".join(printed)
    assert "1,500 users, 384 items, 24,106 events" in text
    assert "The Lost River, volume 2" in text
    assert "    The Silent Garden, volume 5\nrecommended\n" in text
    assert " without the items already seen\n" in text
    assert "in all: float64" in text
    assert "recall" in text
    assert (folder / "report.html").stat().st_size > 10_000


@pytest.mark.slow
@pytest.mark.parametrize("page", SHOP)
def test_the_blocks_of_a_page(page: str, tutorial: tuple[Path, list[str]], tmp_path: Path) -> None:
    folder = copied(tutorial, tmp_path)
    for block in story(page, "shop"):
        run(block, folder)


@pytest.mark.slow
@pytest.mark.elasticsearch
@pytest.mark.parametrize("node", ["elasticsearch_7", "elasticsearch_9"])
def test_the_tutorial_on_real_servers(
    node: str, tutorial: tuple[Path, list[str]], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """One shell for all of it, since the tutorial exports variables."""
    url, folder = request.getfixturevalue(node).url, copied(tutorial, tmp_path)
    parts = story("docs/tutorial.md", "tutorial-elasticsearch")
    whole = type(parts[0])(**{**vars(parts[0]), "text": "".join(each.text for each in parts)})
    text = run(whole, folder, url)
    assert "The Lost River, volume 2" in text
    assert "GET recs/_search" in text
    assert "1.000000" in text
    assert (folder / "recs.ndjson").exists()


@pytest.mark.slow
@pytest.mark.elasticsearch
@pytest.mark.parametrize("node", ["elasticsearch_7", "elasticsearch_9"])
def test_the_blocks_on_real_servers(
    node: str, tutorial: tuple[Path, list[str]], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Updates load the alias that the others ask, so their page is first."""
    url, folder = request.getfixturevalue(node).url, copied(tutorial, tmp_path)
    for page in sorted(ON_SERVERS, key=lambda each: each != "docs/how-to/updates.md"):
        for block in story(page, "shop-elasticsearch"):
            run(block, folder, url)
