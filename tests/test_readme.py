"""The commands of the README and of the pages in docs exist, files that are named exist, and the README's marked blocks run."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest
from sparcode_es_cli.main import cli

from doc_pages import PAGES, ROOT, reader_environment

README = PAGES["README.md"]
SMALL = """
[tokenizer]
dim = 16
max_length = 10
layers = 1
[quantizer]
codes = 16
codes_per_token = 3
[training.tower]
epochs = 2
[training.codes]
epochs = 1
"""


def block(name: str) -> list[list[str]]:
    """The commands of the block behind `<!-- test: name -->`, split into words."""
    found = re.search(rf"<!-- test: {name} -->\n```sh\n(.*?)```", README, re.DOTALL)
    assert found, name
    return [shlex.split(line, comments=True) for line in found.group(1).splitlines() if line.strip()]


def mentioned(page: str) -> list[str]:
    lines = re.findall(r"^ *(sparcode-es [^\n]*)", "\n".join(re.findall(r"```sh\n(.*?)```", page, re.DOTALL)), re.M)
    inline = re.findall(r"`(sparcode-es [^`]*)`", page)
    return [" ".join(text.split()) for text in lines + inline]


@pytest.mark.parametrize("name", PAGES)
def test_every_file_that_a_page_names_exists(name: str) -> None:
    page, folder = PAGES[name], (ROOT / name).parent
    linked = [folder / path for path in re.findall(r"\]\((?!https?:|#)([^)#]+)", page)]
    named = [ROOT / path for path in re.findall(r"(?:tests|benchmarks|mappings)/[\w/]+\.(?:py|json|md)", page)]
    assert [str(path) for path in linked + named if not path.exists()] == []


@pytest.mark.parametrize("text", dict.fromkeys(text for page in PAGES.values() for text in mentioned(page)))
def test_every_command_and_flag_of_a_page_exists(text: str) -> None:
    words = shlex.split(text, comments=True)[1:]
    command: click.Command = cli
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(click.Context(command), words.pop(0))
        assert found is not None, text
        command = found
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    flags = {word for word in words if word.startswith("-")} - {"--help", "-h"}
    assert flags <= known, text


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small log, and the block `own-data` run in it (with a small configuration)."""
    folder = tmp_path_factory.mktemp("readme")
    rng = np.random.default_rng(0)
    lines = [f"u{u} " + " ".join(f"i{(rng.integers(30) + s) % 30}" for s in range(9)) for u in range(120)]
    (folder / "log.txt").write_text("\n".join(lines) + "\n")
    (folder / "small.toml").write_text(SMALL)
    for words in block("own-data"):
        run(folder, [*words, *(["--config", "small.toml"] if words[1] == "train" else [])])
    return folder


def run(folder: Path, words: list[str]) -> str:
    assert words[0] == "sparcode-es"
    command = [sys.executable, "-m", "sparcode_es_cli", *words[1:]]
    done = subprocess.run(command, cwd=folder, env=reader_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_your_own_data(workplace: Path) -> None:
    out = run(workplace, ["sparcode-es", "query", "--user", "u1", "-k", "3", "--json"])
    assert out.count('"score"') >= 3
    history = ["sparcode-es", "query", "--history", "i3 i17 i8", "--checkpoint", "runs/mine/model.pt", "--json"]
    assert run(workplace, history).startswith("{")


@pytest.mark.slow
@pytest.mark.elasticsearch
@pytest.mark.parametrize("node", ["elasticsearch_7", "elasticsearch_9"])
def test_elasticsearch_in_five_lines(workplace: Path, node: str, request: pytest.FixtureRequest) -> None:
    url = request.getfixturevalue(node).url
    outputs = [
        run(workplace, [url if word == "http://localhost:9200" else word for word in words])
        for words in block("elasticsearch")
    ]
    assert "generation" in outputs[0]
    assert "GET recs/_search" in outputs[2]
    assert "recall@50" in outputs[3]
