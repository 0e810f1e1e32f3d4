"""What is installed: a wheel and a source distribution are built, and the wheel runs away from the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.slow


def _run(*command: str, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel, built from the source distribution, and that distribution."""
    out = tmp_path_factory.mktemp("dist")
    _run(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT), cwd=out)
    return out


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the unpacked wheel and nothing else."""
    target = tmp_path_factory.mktemp("site")
    wheel = next(built.glob("*.whl"))
    _run(sys.executable, "-m", "pip", "install", "--no-deps", "--target", str(target), str(wheel), cwd=built)
    return target


def test_the_wheel_takes_no_common_name(built: Path) -> None:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        tops = {name.split("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {
        "sparcode_es",
        "sparcode_es_cli",
        "sparcode_es_mappings",
    }


def test_the_wheel_has_every_file_of_the_packages(built: Path) -> None:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        names = set(wheel.namelist())
    folders = {"sparcode_es": "sparcode_es", "cli": "sparcode_es_cli", "mappings": "sparcode_es_mappings"}
    for folder, package in folders.items():
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and path.suffix in {".py", ".json", ".toml", ".typed", ".css", ".html", ".js", ".svg"}:
                assert f"{package}/{path.relative_to(ROOT / folder).as_posix()}" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_source_distribution_can_be_read(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "cli/main.py", "sparcode_es/errors.py"} <= names


def test_the_wheel_runs_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    where = _run(
        sys.executable,
        "-c",
        "import sparcode_es, sparcode_es_cli, sparcode_es_mappings\n"
        "for package in (sparcode_es, sparcode_es_cli, sparcode_es_mappings): print(package.__file__)",
        cwd=tmp_path,
        PYTHONPATH=str(installed),
    )
    assert all(line.startswith(str(installed)) for line in where.splitlines()), where
    script = str(installed / "bin" / "sparcode-es")
    assert "query" in _run(sys.executable, script, "--help", cwd=tmp_path, PYTHONPATH=str(installed))
    presets = "from sparcode_es.config import load_config, preset_names\nfor n in preset_names(): load_config(preset=n)"
    _run(sys.executable, "-c", presets, cwd=tmp_path, PYTHONPATH=str(installed))
