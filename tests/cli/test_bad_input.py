"""What a person does wrong on the command line: one sentence on stderr, its own exit code, nothing half-written."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

LOG = "".join(f"u{u} " + " ".join(f"i{(u + s) % 30}" for s in range(12)) + "\n" for u in range(60))
SMALL = (
    *("--set", "training.tower.epochs=1", "--set", "training.codes.epochs=1", "--set", "quantizer.codes=8"),
    *("--set", "tokenizer.dim=8", "--set", "quantizer.min_perplexity=0"),
)


def run(*arguments: object, preparing: Callable[[], None] | None = None, without: str = "") -> tuple[int, str]:
    """Exit code and stderr of the command in a process of its own; `without`: packages that cannot be imported."""
    code = "import sys; sys.modules.update(dict.fromkeys(sys.argv.pop(1).split()))\nfrom sparcode_es_cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, without, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=preparing,
        timeout=120,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr.strip()


def small_disk(limit: int) -> Callable[[], None]:
    """Files above `limit` bytes cannot be written, as on a full disk."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a log, a data folder and a trained model."""
    folder = tmp_path_factory.mktemp("bad")
    (folder / "log.txt").write_text(LOG)
    for arguments in (
        ("data", "import", folder / "log.txt", "--format", "sequences", "--out", folder / "data"),
        ("train", "--data", folder / "data", "--out", folder / "run", *SMALL),
        (
            "postings",
            "build",
            "--checkpoint",
            folder / "run/model.pt",
            "--data",
            folder / "data",
            "--out",
            folder / "p",
        ),
    ):
        status, error = run(*arguments)
        assert status == 0, error
    return folder


def test_data_commands_on_a_serving_install_name_the_extra(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text(LOG)
    for arguments in (("import", tmp_path / "log.txt", "--out", tmp_path / "data"), ("fetch", "ml-100k")):
        status, error = run("data", *arguments, without="pandas pyarrow torch")
        assert status == 15
        assert error.endswith("pip install 'sparcode-es[train]'")


@pytest.mark.slow
@pytest.mark.parametrize("step", ["import", "train", "postings"])
@pytest.mark.parametrize("how", ["below a file", "full disk"])
def test_an_output_that_cannot_be_written(work: Path, tmp_path: Path, step: str, how: str) -> None:
    (tmp_path / "file").write_text("in the way")
    out = tmp_path / "file" / "out" if how == "below a file" else tmp_path / "out"
    arguments = {
        "import": ("data", "import", work / "log.txt", "--format", "sequences", "--out", out),
        "train": ("train", "--data", work / "data", "--out", out, *SMALL),
        "postings": ("postings", "build", "--checkpoint", work / "run/model.pt", "--data", work / "data", "--out", out),
    }[step]
    status, error = run(
        *arguments, preparing=small_disk(4096 if step == "train" else 256) if how == "full disk" else None
    )
    assert status == 14, error
    assert str(out) in error.splitlines()[-1]
    left = [path.name for path in out.rglob("*")] if out.exists() and step == "train" else sorted(tmp_path.iterdir())
    assert left == [tmp_path / "file"] or set(left) <= {"config.toml", "log.jsonl"}


@pytest.mark.slow
def test_inputs_that_are_something_else(work: Path, tmp_path: Path) -> None:
    model, data, postings = work / "run/model.pt", work / "data", work / "p"
    truncated = tmp_path / "truncated.pt"
    truncated.write_bytes(model.read_bytes()[:-100])
    (tmp_path / "empty").mkdir()
    query = ("query", "--postings", postings)
    cases: list[tuple[int, str, tuple[object, ...]]] = [
        (4, "empty", ("data", "describe", tmp_path / "empty")),
        (4, "missing", ("data", "import", tmp_path / "missing", "--out", tmp_path / "d")),
        (4, "missing", ("train", "--data", tmp_path / "missing", "--out", tmp_path / "r")),
        (
            3,
            "training.tower.epochs",
            ("train", "--data", data, "--out", tmp_path / "r", "--set", "training.tower.epoch=1"),
        ),
        (6, "truncated.pt", (*query, "--history", "i1", "--checkpoint", truncated)),
        (6, "kind two_tower", (*query, "--history", "i1", "--checkpoint", work / "run/two_tower.pt")),
        (6, "kind two_tower", ("verify", "--postings", postings, "--checkpoint", work / "run/two_tower.pt")),
        (5, "'nobody'", (*query, "--user", "nobody")),
        (5, "'i99'", (*query, "--history", "i1 i99", "--checkpoint", model)),
        (5, "empty", (*query, "--history", " ", "--checkpoint", model)),
        (7, "missing", ("query", "--postings", tmp_path / "missing", "--user", "u1")),
        (7, "data", ("query", "--postings", data, "--user", "u1")),
        (8, "127.0.0.1:9", ("query", "--url", "http://127.0.0.1:9", "--timeout", "1", "--user", "u1")),
        (2, "--history", (*query, "--history", "i1")),
        (2, "--checkpoint", ("index", "--url", "http://127.0.0.1:9", "--postings", postings, "--sparsity", "0.9")),
        (3, "tower", ("train", "--data", data, "--out", tmp_path / "t", "--model", "two_tower", "--tower", model)),
    ]
    for expected, named, arguments in cases:
        status, error = run(*arguments)
        assert status == expected, (arguments, error)
        assert named in error, (arguments, error)


@pytest.mark.slow
def test_a_flipped_byte_is_found_before_anything_is_loaded(work: Path, tmp_path: Path) -> None:
    content = bytearray((work / "p/scores.npy").read_bytes())
    content[-1] ^= 1
    copy = tmp_path / "p"
    copy.mkdir()
    for file in (work / "p").iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    (copy / "scores.npy").write_bytes(content)
    status, error = run("postings", "check", copy)
    assert status == 7
    assert "scores.npy" in error
    status, error = run("index", "--url", "http://127.0.0.1:9", "--postings", copy)
    assert status == 7
