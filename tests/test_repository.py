"""What the repository's own files say of the project is so."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_nothing_else_lies_at_the_top() -> None:
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("no git, or no checkout of it")
    listed = subprocess.run([git, "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    top = {name.partition("/")[0] for name in listed.split("\0") if name and not name.startswith(".")}
    files = {"pyproject.toml", "README.md", "Makefile", "LICENSE", "CHANGELOG.md", "CITATION.cff", "compose.yaml"}
    assert top <= files | {"sparcode_es", "mappings", "cli", "benchmarks", "tests", "docs"}


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


@pytest.mark.parametrize(("workflow", "command"), [("ci", ".ci/run"), ("audit", "make audit")])
def test_the_workflows_run_what_the_project_runs(workflow: str, command: str) -> None:
    text = (ROOT / ".github" / "workflows" / f"{workflow}.yml").read_text(encoding="utf-8")
    assert re.findall(r"- run: (.+)", text) == [command]
    if command.startswith("make "):
        assert f"\n{command.removeprefix('make ')}: " in (ROOT / "Makefile").read_text(encoding="utf-8")
    else:
        assert (ROOT / command).stat().st_mode & 0o111


LOCK = ROOT / ".requirements" / "dev.txt"


def locked() -> dict[str, set[str]]:
    """Package → its pinned versions, one for each range of Pythons that needs another."""
    found: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([a-z0-9.-]+)==([^ ]+)", LOCK.read_text(encoding="utf-8"), re.MULTILINE):
        found.setdefault(name, set()).add(version)
    return found


def test_the_lock_pins_what_the_project_needs_within_its_bounds(project: dict[str, Any]) -> None:
    extras = project["project"]["optional-dependencies"].values()
    needed = [Requirement(text) for texts in (project["project"]["dependencies"], *extras) for text in texts]
    pinned = locked()
    for each in needed:
        if each.name != project["project"]["name"]:
            versions = pinned.get(re.sub(r"[-_.]+", "-", each.name).lower(), set())
            assert versions, f"{each.name} is not locked: make lock"
            assert all(each.specifier.contains(version) for version in versions), f"{each} is locked at {versions}"


def test_every_locked_package_has_hashes_and_no_place_of_its_own() -> None:
    text = LOCK.read_text(encoding="utf-8")
    entries = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    assert len(entries) == sum(len(versions) for versions in locked().values())
    assert [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry] == []
    assert "://" not in text
