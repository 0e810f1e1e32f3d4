"""What the repository's own files say of the project is so."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_the_citation_is_of_this_version(project: dict[str, Any]) -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {project['project']['version']}\n" in citation
    assert f"\nlicense: {project['project']['license']}\n" in citation


def test_the_image_has_every_package_and_only_extras_that_there_are(project: dict[str, Any]) -> None:
    lines = (ROOT / ".docker" / "Dockerfile").read_text(encoding="utf-8").splitlines()
    copied = {word for line in lines if line.startswith("COPY ") for word in line.split()[1:-1]}
    setuptools = project["tool"]["setuptools"]
    folders = {setuptools["package-dir"].get(name, name) for name in setuptools["packages"] if "." not in name}
    assert copied >= folders | {"pyproject.toml", project["project"]["readme"], *project["project"]["license-files"]}
    (extras,) = re.findall(r"\.\[([a-z,]+)\]", "\n".join(lines))
    assert set(extras.split(",")) <= project["project"]["optional-dependencies"].keys()


@pytest.mark.parametrize("name", [".github/SECURITY.md", ".github/CONTRIBUTING.md"])
def test_the_files_that_are_named_exist(name: str) -> None:
    named = re.findall(r"`((?:tests|benchmarks|mappings)[\w/.]*)`", (ROOT / name).read_text(encoding="utf-8"))
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_the_workflow_runs_what_the_project_runs() -> None:
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    assert re.findall(r"- run: (.+)", workflow) == [".ci/run"]
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111
