"""The project's shape: imports go one way, serving starts light, every package is installed, every name is explained."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent

# A stage imports its own level and earlier ones. Two names on a level do not import each other, but see EXCEPTIONS.
LEVELS: list[set[str]] = [
    {"errors", "__init__"},
    {"files", "codes", "csr", "visible"},
    {"tables", "arrays"},
    {"config", "presets"},
    {"data"},
    {"models"},
    {"baselines"},
    {"evaluation"},
    {"training"},
    {"postings"},
    {"engines"},
    {"serving"},
    {"inspection", "kibana"},
    {"report", "ui"},
    {"cli"},
]
# (file, stage it imports): why.
EXCEPTIONS: dict[tuple[str, str], str] = {
    ("sparcode_es/__init__.py", "engines"): "the types of public names, which are imported when asked for",
    ("sparcode_es/__init__.py", "serving"): "the same",
}

# What asks an engine for a known user. Only what these import at module level counts.
SERVING_SIDE = [
    "postings.artifact",
    "codes",
    "postings.grid",
    "engines.base",
    "engines.embedded",
    "serving",
    "inspection.why",
    "serving.exported",
]
HEAVY = ["torch", "pandas", "scipy", "numba", "sklearn", "pyarrow"]


def _level(stage: str) -> int:
    return next(level for level, stages in enumerate(LEVELS) if stage in stages)


def _sources() -> list[Path]:
    return sorted([*(ROOT / "sparcode_es").rglob("*.py"), *(ROOT / "cli").rglob("*.py")])


def _stage(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return "cli" if parts[0] == "cli" else parts[1]


def _imports(path: Path) -> set[str]:
    """The stages that a file imports, wherever in it the import stands."""
    stages = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide which stage is meant"
            module = node.module or ""
            # `from sparcode_es import data` names the stage on the right; `__version__` is no stage.
            names = [f"sparcode_es.{alias.name}" for alias in node.names] if module == "sparcode_es" else [module]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "sparcode_es" and len(parts) > 1 and not parts[1].startswith("__"):
                stages.add(parts[1])
            elif parts[0] == "sparcode_es_cli":
                stages.add("cli")
    return stages


@pytest.mark.parametrize("path", _sources(), ids=lambda p: p.relative_to(ROOT).as_posix())
def test_a_stage_imports_only_earlier_ones(path: Path) -> None:
    name = path.relative_to(ROOT).as_posix()
    later = {
        stage
        for stage in _imports(path)
        if stage != _stage(path) and _level(stage) >= _level(_stage(path)) and (name, stage) not in EXCEPTIONS
    }
    assert not later, f"{name} imports a later stage: {', '.join(sorted(later))}"


def test_every_exception_is_still_needed() -> None:
    unused = {(name, stage) for name, stage in EXCEPTIONS if stage not in _imports(ROOT / name)}
    assert not unused


def test_serving_imports_nothing_heavy() -> None:
    modules = [
        f"sparcode_es.{name}"
        for name in SERVING_SIDE
        if (ROOT / "sparcode_es" / f"{name.replace('.', '/')}.py").exists() or name == "serving"
    ]
    script = (
        "import importlib, sys\n"
        f"for name in {HEAVY!r}:\n"
        "    sys.modules[name] = None\n"
        f"for name in {modules!r}:\n"
        "    importlib.import_module(name)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_package_is_listed_for_installation() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        listed = set(tomllib.load(file)["tool"]["setuptools"]["packages"])
    folders = {path.parent for path in (ROOT / "sparcode_es").rglob("*.py")}
    expected = {".".join(folder.relative_to(ROOT).parts) for folder in folders}
    assert listed == expected | {"sparcode_es_cli", "sparcode_es_mappings"}


def _public_without_docstring(path: Path) -> list[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    missing = [] if ast.get_docstring(tree) or not tree.body else ["the module"]
    for node in tree.body:
        if isinstance(node, kinds) and not node.name.startswith("_") and not ast.get_docstring(node):
            missing.append(node.name)
    return missing


@pytest.mark.parametrize("path", _sources(), ids=lambda p: p.relative_to(ROOT).as_posix())
def test_public_names_have_docstrings(path: Path) -> None:
    assert _public_without_docstring(path) == []


@pytest.mark.parametrize("path", _sources(), ids=lambda p: p.relative_to(ROOT).as_posix())
def test_no_pickle_and_no_unfinished_work(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert "TODO" not in text
    assert "FIXME" not in text
    assert "allow_pickle=True" not in text
    assert "weights_only=False" not in text
