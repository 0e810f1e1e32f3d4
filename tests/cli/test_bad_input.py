"""What a person does wrong on the command line: one sentence on stderr, its own exit code, nothing half-written."""

from __future__ import annotations

import contextlib
import io
import resource
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from sparcode_es_cli.index import artifact_to_load
from sparcode_es_cli.main import main

LOG = "".join(f"u{u} " + " ".join(f"i{(u + s) % 30}" for s in range(12)) + "\n" for u in range(60))
SMALL = (
    *("--set", "training.tower.epochs=1", "--set", "training.codes.epochs=1", "--set", "quantizer.codes=8"),
    *("--set", "tokenizer.dim=8", "--set", "quantizer.min_perplexity=0"),
)


def run(*arguments: object) -> tuple[int, str]:
    """Exit code and stderr of the command, in this process."""
    said = io.StringIO()
    with (
        contextlib.redirect_stderr(said),
        contextlib.redirect_stdout(io.StringIO()),
        pytest.raises(SystemExit) as ended,
    ):
        main([str(argument) for argument in arguments])
    assert "Traceback" not in said.getvalue()
    assert isinstance(ended.value.code, int)
    return ended.value.code, said.getvalue().strip()


def run_apart(*arguments: object, preparing: Callable[[], None] | None = None, without: str = "") -> tuple[int, str]:
    """The same in a process of its own; `without`: packages that cannot be imported."""
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
        status, error = run_apart("data", *arguments, without="pandas pyarrow torch")
        assert status == 15
        assert "pip install -e '.[train]'" in error
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
    status, error = run_apart(
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
        (5, "knows none", (*query, "--history", "i98 i99", "--checkpoint", model)),
        (5, "empty", (*query, "--history", " ", "--checkpoint", model)),
        (7, "missing", ("query", "--postings", tmp_path / "missing", "--user", "u1")),
        (7, "data", ("query", "--postings", data, "--user", "u1")),
        (8, "127.0.0.1:9", ("query", "--url", "http://127.0.0.1:9", "--timeout", "1", "--user", "u1")),
        (2, "--history", (*query, "--history", "i1")),
        (14, "would be lost", ("postings", "build", "--checkpoint", model, "--data", data, "--out", work / "run")),
        (14, "would be lost", ("postings", "build", "--checkpoint", model, "--data", data, "--out", data)),
        (14, "would be lost", ("data", "import", work / "log.txt", "--format", "sequences", "--out", postings)),
        (14, "another folder as --out", ("train", "--data", data, "--out", postings, *SMALL)),
        (3, "seed", ("data", "import", work / "log.txt", "--out", tmp_path / "d", "--split", "users", "--seed", "-1")),
        (3, "training.seed", ("train", "--data", data, "--out", tmp_path / "r", "--seed", "-1")),
        (2, "--seed", ("verify", "--postings", postings, "--checkpoint", model, "--seed", "-1")),
        (3, "--timeout", (*query, "--user", "u1", "--url", "http://127.0.0.1:9", "--timeout", "nan")),
        (2, "--update", ("index", "--url", "http://127.0.0.1:9", "--update", "--checkpoint", model)),
        (2, "banana", ("node", "up", "--heap", "banana")),
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


def test_a_full_output_is_one_sentence(work: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "sparcode_es_cli", "query", "--postings", str(work / "p"), "--user", "u1"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 14
    assert "Traceback" not in done.stderr
    assert "No space left" in done.stderr


def test_a_training_that_diverges_leaves_no_checkpoint(work: Path, tmp_path: Path) -> None:
    diverging = ("--model", "two_tower", *SMALL, "--set", "training.tower.learning_rate=1e9")
    status, error = run("train", "--data", work / "data", "--out", tmp_path / "run", *diverging)
    assert status == 13
    assert "lower" in error
    assert not (tmp_path / "run/two_tower.pt").exists()


def test_a_small_log_trains_with_the_defaults(tmp_path: Path) -> None:
    """A codebook is no larger than what there is to learn it from."""
    (tmp_path / "log").write_text(
        "".join(f"u{u} i{u % 5} i{u % 3 + 5} i{u % 4} i{u % 7} i{u % 2}\n" for u in range(12))
    )
    assert run("data", "import", tmp_path / "log", "--format", "sequences", "--out", tmp_path / "data")[0] == 0
    few = ("--set", "training.tower.epochs=2", "--set", "training.codes.epochs=1")
    assert run("train", "--data", tmp_path / "data", "--out", tmp_path / "run", *few)[0] == 0


@pytest.mark.parametrize("largest", [0, 1, 2])
def test_a_flipped_byte_in_a_checkpoint_is_found(work: Path, tmp_path: Path, largest: int) -> None:
    content = bytearray((work / "run/model.pt").read_bytes())
    with zipfile.ZipFile(work / "run/model.pt") as archive:  # Between its records is padding, which nothing reads.
        parts = sorted((archive.read(name) for name in archive.namelist()), key=len, reverse=True)
    content[content.find(parts[largest]) + len(parts[largest]) // 2] ^= 16
    (tmp_path / "model.pt").write_bytes(content)
    status, error = run("verify", "--postings", work / "p", "--checkpoint", tmp_path / "model.pt")
    assert status == 6
    assert "model.pt" in error


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there(work: Path) -> None:
    flags = ("--checkpoint", work / "run/model.pt", "--data", work / "data", "--out", work / "nothing")
    status, error = run("postings", "build", *flags, "--device", "cuda")
    assert (status, error) == (3, "error: --device is cuda, but torch sees no CUDA device; set it to cpu")
    assert not (work / "nothing").exists()


@pytest.mark.slow
def test_a_build_says_of_what_else_it_is(work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Other events than the model's, and, where an index is built over an artifact that was cut, that it no longer is."""
    more, out = tmp_path / "more", tmp_path / "p"
    (tmp_path / "log.txt").write_text("".join(f"{line} i{u % 30}\n" for u, line in enumerate(LOG.splitlines())))
    assert run("data", "import", tmp_path / "log.txt", "--format", "sequences", "--out", more)[0] == 0
    build = ("postings", "build", "--checkpoint", work / "run/model.pt", "--out", out, "--sparsity", "0.5")
    assert run(*build, "--data", work / "data") == (0, "")
    status, error = run(*build, "--data", more)
    assert status == 0
    assert error.startswith(f"{more} holds other events than {work / 'run/model.pt'} was trained on")
    artifact_to_load(out, work / "run/model.pt", None, {"sparsity": 0.5})
    assert capsys.readouterr().err == ""
    artifact_to_load(out, work / "run/model.pt", None, {})
    said = (
        f"{out} held postings that were cut otherwise, --sparsity 0.5; these are built by the flags given here: uncut\n"
    )
    assert capsys.readouterr().err == said


@pytest.mark.slow
def test_an_index_is_refused_before_its_postings_are_built(work: Path, tmp_path: Path) -> None:
    index = ("index", "--postings", tmp_path / "p", "--checkpoint", work / "run/model.pt")
    assert run(*index, "--url", "http://127.0.0.1:9")[0] == 8
    status, error = run(*index, "--url", "http://127.0.0.1:9", "--index", "Not-A-Name")
    assert status == 3
    assert "'Not-A-Name' cannot name an index" in error
    assert not (tmp_path / "p").exists()
