"""An exported encoder gives the checkpoint's codes, without torch, and refuses what is not whole or not of this index."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from sparcode_es.codes import UserCodes
from sparcode_es.config import load_config
from sparcode_es.errors import CheckpointError, MismatchError, NotFoundError
from sparcode_es.models.features import FeatureSpec
from sparcode_es.models.sparcode import SparCode
from sparcode_es.postings.build import build_postings
from sparcode_es.serving.encoder import HistoryEncoder, encode_histories
from sparcode_es.serving.export import export_encoder
from sparcode_es.serving.exported import ExportedEncoder
from sparcode_es.tables import StringTable
from sparcode_es.training.checkpoint import save_checkpoint

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

ITEMS = 40
IDS = StringTable.build(f"item {i} é" for i in range(ITEMS))
KINDS = [
    {"tokenizer.kind": "dnn", "tokenizer.hidden": [16]},
    {"tokenizer.kind": "self_attention", "tokenizer.tokens": 2, "quantizer.shared": False},
    {"tokenizer.kind": "gru", "tokenizer.token_heads": "senet", "tokenizer.tokens": 3},
    {"tokenizer.kind": "self_attention", "tokenizer.members": 2, "tokenizer.tokens": 2},
    {"tokenizer.kind": "capsule", "tokenizer.tokens": 2, "quantizer.assignment": "nearest", "quantizer.codebooks": 2,
     "scorer.memory": False, "item_codes.latest": 0},
]  # fmt: skip


def model_of(seed: int = 0, **settings: Any) -> SparCode:
    """A model with random weights and, where it has item codes, an item memory; with features of items and users."""
    fixed = {"tokenizer.dim": 16, "tokenizer.max_length": 9, "tokenizer.layers": 1, "quantizer.codes": 30}
    torch.manual_seed(seed)
    features = [FeatureSpec("genre", "categorical", 5, 1, "input")]
    config = load_config(overrides=fixed | {"quantizer.codes_per_token": 4} | settings)
    model = SparCode(config, ITEMS, 6, features, features).eval()
    rng = np.random.default_rng(seed)
    model.load_features({side: {"genre": rng.integers(0, 5, (n, 1))} for side, n in (("item", ITEMS), ("user", 6))})
    if model.item_memory is not None:
        model.item_memory.fit(sparse.random(ITEMS, ITEMS, 0.2, "csr", np.float32, rng), np.full(ITEMS, 7))
        model.item_memory.weight.fill_(0.7)
    return model


@pytest.fixture(scope="module")
def opened(both: tuple[SparCode, Path]) -> ExportedEncoder:
    return ExportedEncoder.open(both[1])


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[SparCode, Path]:
    """A model and its export."""
    path = tmp_path_factory.mktemp("export") / "encoder.onnx"
    model = model_of(**KINDS[0])
    export_encoder(model, IDS, path)
    return model, path


def same_codes(model: SparCode, exported: ExportedEncoder, histories: list[list[int]]) -> None:
    offsets = np.concatenate([[0], np.cumsum([len(history) for history in histories])])
    items = np.concatenate(histories).astype(np.uint32)
    found, expected = exported.encode(offsets, items), encode_histories(model, offsets, items)
    np.testing.assert_array_equal(found.offsets, expected.offsets)
    np.testing.assert_array_equal(found.codes, expected.codes)
    np.testing.assert_allclose(found.boosts, expected.boosts, atol=1e-4)


HISTORIES = st.lists(st.lists(st.integers(0, ITEMS - 1), min_size=1, max_size=14), min_size=1, max_size=6)


@settings(max_examples=60)
@given(histories=HISTORIES)
def test_the_codes_are_the_checkpoints(
    both: tuple[SparCode, Path], opened: ExportedEncoder, histories: list[list[int]]
) -> None:
    same_codes(both[0], opened, histories)


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind", KINDS[1:], ids=lambda kind: f"{kind['tokenizer.kind']}-{kind.get('tokenizer.members', 1)}"
)
def test_every_tokenizer_is_exported(kind: dict[str, Any], tmp_path: Path) -> None:
    model = model_of(1, **kind)
    export_encoder(model, IDS, tmp_path / "encoder.onnx")
    exported = ExportedEncoder.open(tmp_path / "encoder.onnx", threads=2)
    assert exported.hashes == (model.model_hash, model.codebook_hash)
    assert exported.shared_heads == model.shared_heads
    rng = np.random.default_rng(0)
    same_codes(model, exported, [[0], *(rng.integers(0, ITEMS, length).tolist() for length in range(1, 15))])


def test_it_is_called_with_ids(both: tuple[SparCode, Path]) -> None:
    model, path = both
    exported = ExportedEncoder.open(path)
    found, expected = (encode(["item 3 é", "item 39 é"]) for encode in (exported, HistoryEncoder(model, IDS)))
    np.testing.assert_array_equal(found.codes, expected.codes)
    with pytest.raises(NotFoundError, match="'nobody'"):
        exported(["item 3 é", "nobody"])
    with pytest.raises(NotFoundError, match="empty"):
        exported([])


def test_nothing_of_users_is_in_it(both: tuple[SparCode, Path]) -> None:
    import onnx

    graph = onnx.load(both[1]).graph
    assert [node.name for node in graph.input] == ["histories", "positions"]
    assert not any("user" in tensor.name for tensor in graph.initializer)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_file(both: tuple[SparCode, Path], share: float, tmp_path: Path) -> None:
    content = both[1].read_bytes()
    (tmp_path / "cut.onnx").write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError, match=r"not a whole encoder .* export it again"):
        ExportedEncoder.open(tmp_path / "cut.onnx")


def test_a_damaged_file_and_another_one(both: tuple[SparCode, Path], tmp_path: Path) -> None:
    content = bytearray(both[1].read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "flipped.onnx").write_bytes(content)
    with pytest.raises(CheckpointError, match="not a whole encoder"):
        ExportedEncoder.open(tmp_path / "flipped.onnx")
    from sparcode_es.serving.exported import sealed

    (tmp_path / "other.onnx").write_bytes(sealed(b"\x08\x0a"))
    with pytest.raises(CheckpointError, match="cannot be used"):
        ExportedEncoder.open(tmp_path / "other.onnx")
    with pytest.raises(CheckpointError, match="there is no encoder"):
        ExportedEncoder.open(tmp_path / "none.onnx")


def test_a_model_of_features_has_no_encoder_of_histories(tmp_path: Path) -> None:
    model = model_of(**{"tokenizer.source": "features", "tokenizer.kind": "dnn", "item_codes.latest": 0})
    with pytest.raises(MismatchError, match="no encoder of histories"):
        export_encoder(model, IDS, tmp_path / "encoder.onnx")


class _Seen:
    offsets, items = np.zeros(1, dtype=np.uint64), np.zeros(0, dtype=np.uint32)


@pytest.fixture
def world(both: tuple[SparCode, Path], tmp_path: Path) -> tuple[Path, Path, Path]:
    """Postings, checkpoint and exported encoder of one model."""
    model, path = both
    save_checkpoint(tmp_path / "model.pt", model, IDS, "nowhere", {}, "of none")
    build_postings(
        model, tmp_path / "postings", item_ids=IDS, item_docs=[{"title": None, "attributes": {}}] * ITEMS,
        user_ids=StringTable.build([]),
        user_codes=UserCodes(np.zeros(1, np.uint64), np.zeros((0, 2), np.uint32), np.zeros(0, np.float32)),
        user_seen=_Seen(),
    )  # fmt: skip
    return tmp_path / "postings", tmp_path / "model.pt", path


def query(postings: Path, *more: str, without: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """`sparcode-es query --history`, where some packages cannot be imported."""
    flags = ["query", "--history", '["item 3 é", "item 5 é"]', "--postings", str(postings), "--json", *more]
    script = f"import sys\nfor name in {without!r}:\n    sys.modules[name] = None\n"
    script += f"from sparcode_es_cli.main import main\nmain({flags!r})"
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_history_is_answered_without_torch(world: tuple[Path, Path, Path]) -> None:
    postings, checkpoint, encoder = world
    light = query(postings, "--encoder", str(encoder), without=("torch", "pandas", "scipy", "onnx"))
    assert light.returncode == 0, light.stderr
    heavy = query(postings, "--checkpoint", str(checkpoint))
    found, expected = (json.loads(done.stdout) for done in (light, heavy))
    assert [item["item"] for item in found["items"]] == [item["item"] for item in expected["items"]]
    assert [clause["term"] for clause in found["clauses"]] == [clause["term"] for clause in expected["clauses"]]
    missing = query(postings, "--encoder", str(encoder), without=("onnxruntime",))
    assert missing.returncode == 15
    assert "pip install 'sparcode-es[onnx]'" in missing.stderr


@pytest.mark.slow
def test_export_and_another_models_index(world: tuple[Path, Path, Path], tmp_path: Path) -> None:
    postings, checkpoint, _ = world
    command = [sys.executable, "-m", "sparcode_es_cli", "export", "--checkpoint", str(checkpoint)]
    command += ["--out", str(tmp_path / "e.onnx"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert (found["encoder"], found["bytes"]) == (command[-2], (tmp_path / "e.onnx").stat().st_size)
    assert query(postings, "--encoder", str(tmp_path / "e.onnx")).returncode == 0
    other = model_of(5, **KINDS[0])
    export_encoder(other, IDS, tmp_path / "other.onnx")
    refused = query(postings, "--encoder", str(tmp_path / "other.onnx"))
    assert refused.returncode == 11
    assert f"the encoder is model {other.model_hash}" in refused.stderr
    assert query(postings, "--encoder", "x", "--checkpoint", "y").returncode == 2
    assert query(postings).returncode == 2
