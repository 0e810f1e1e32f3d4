"""Deezer's files: the real sample with its vectors as text, made-up ones with lists; split, roles, cold users, bad files."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from sparcode_es_cli.main import cli

from sparcode_es.data.dataset import Dataset
from sparcode_es.data.deezer import field_columns, import_deezer
from sparcode_es.data.deezer_synthetic import FIELDS, SyntheticOptions, write_synthetic
from sparcode_es.data.importer import detect_format
from sparcode_es.data.labels import TEST, TRAIN, VALID
from sparcode_es.data.vectors import ragged
from sparcode_es.errors import DataError
from sparcode_es.files import sha256_of

SAMPLE = next(
    (up / "shared/data/deezer-sample" for up in Path(__file__).resolve().parents if (up / "shared/data").is_dir()), None
)


@pytest.fixture
def sample() -> Path:
    if SAMPLE is None or not SAMPLE.is_dir():
        pytest.skip("the sample of Deezer's real files is not beside the checkout (shared/data/deezer-sample)")
    return SAMPLE


@pytest.mark.parametrize(("kind", "size"), [("svd", 128), ("mf", 256)])
def test_the_real_sample(sample: Path, tmp_path: Path, kind: str, size: int) -> None:
    arguments = [
        "data",
        "import",
        str(sample),
        "--format",
        "deezer",
        "--embeddings",
        kind,
        "--out",
        str(tmp_path / "d"),
    ]
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    dataset = Dataset.open(tmp_path / "d", verify=True)
    assert (dataset.num_users, dataset.num_items) == (15, 5)
    kinds = [(f.side, f.kind, f.role) for f in dataset.schema]
    assert kinds.count(("user", "vector", "input")) == 20
    assert kinds.count(("user", "numerical", "input")) == 19
    assert kinds[-2:] == [("user", "vector", "target"), ("item", "vector", "input")]
    songs = pq.read_table(sample / "song_embeddings.parquet").column(f"features_{kind}").combine_chunks()
    texts = getattr(songs, "storage", songs).cast("string").to_pylist()
    own = np.array([text.strip("[]").split(",") for text in texts], dtype=np.float32)
    found = dataset.feature("item", "embedding")
    assert isinstance(found, np.ndarray)
    assert found.shape == (5, size)
    np.testing.assert_array_equal(found, own)
    first = pq.read_table(sample / "user_features_test.parquet", columns=["user_index", "age_embedding7"]).to_pylist()[
        0
    ]
    row = dataset.user_ids.find(str(first["user_index"]))
    ages = dataset.feature("user", "age_embedding")
    assert isinstance(ages, np.ndarray)
    assert ages[row, 7] == np.float32(first["age_embedding7"])


def test_users_are_split_as_the_files_have_them(deezer: Dataset, deezer_files: Path) -> None:
    assert deezer.manifest.split.protocol == "given"
    for part, label, users in (("train", TRAIN, 210), ("validation", VALID, 60), ("test", TEST, 30)):
        table = pq.read_table(deezer_files / f"user_features_{part}_svd.parquet", columns=["user_index", "d1d30_songs"])
        assert table.num_rows == users
        assert np.unique(deezer.users[deezer.labels == label]).tolist() == table["user_index"].to_pylist()
        for user, songs in zip(*table.to_pydict().values(), strict=True):
            events = deezer.items[int(deezer.user_offsets[user]) : int(deezer.user_offsets[user + 1])]
            assert events.tolist() == songs


def test_all_songs_are_items_and_cold_users_are_asked_with_an_empty_history(deezer: Dataset) -> None:
    assert list(deezer.item_ids) == [str(song) for song in range(150)]
    for split, users in (("valid", range(210, 270)), ("test", range(270, 300))):
        cases = deezer.cases(split)  # type: ignore[arg-type]
        assert cases.users.tolist() == list(users)
        assert len(cases.history_items) == 0
        assert cases.history_offsets.tolist() == [0] * (len(users) + 1)
        for row, user in enumerate(users):
            begin, end = int(deezer.user_offsets[user]), int(deezer.user_offsets[user + 1])
            assert cases.targets[row].tolist() == deezer.items[begin:end].tolist()


def test_cold_users_have_features_and_no_embedding(deezer: Dataset) -> None:
    own, ages = deezer.feature("user", "embedding"), deezer.feature("user", "age_embedding")
    assert isinstance(own, np.ndarray)
    assert isinstance(ages, np.ndarray)
    assert own[:210].any(axis=1).all()
    assert not own[210:].any()
    assert ages.any(axis=1).all()
    assert [f.role for f in deezer.schema if f.name == "embedding"] == ["target", "input"]


def test_scalars_are_standardised_by_the_training_users_and_a_missing_count_is_0(
    deezer: Dataset, deezer_files: Path
) -> None:
    name = f"nb_{FIELDS[0]}"
    parts = ("train", "validation", "test")
    tables = [pq.read_table(deezer_files / f"user_features_{p}_svd.parquet", columns=[name]) for p in parts]
    raw = np.concatenate([[value or 0 for value in table[name].to_pylist()] for table in tables]).astype(float)
    assert (raw == 0).any()
    np.testing.assert_allclose(
        deezer.feature("user", name), (raw - raw[:210].mean()) / raw[:210].std(), rtol=1e-4, atol=1e-6
    )


def test_vectors_as_text_and_as_lists_are_the_same(deezer_files: Path, deezer: Dataset, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    shutil.copytree(deezer_files, folder)
    songs = pq.read_table(folder / "song_embeddings.parquet").to_pydict()
    texts = {name: [str(v) for v in vectors] for name, vectors in songs.items() if name != "song_index"}
    pq.write_table(pa.table({"song_index": songs["song_index"], **texts}), folder / "song_embeddings.parquet")
    path = folder / "user_features_train_svd.parquet"
    users = pq.read_table(path)
    place = users.column_names.index("d1d30_songs")
    lists = [f"[{' '.join(map(str, songs))}]" for songs in users["d1d30_songs"].to_pylist()]
    pq.write_table(users.set_column(place, "d1d30_songs", pa.array(lists)), path)
    again = import_deezer(folder, tmp_path / "data", "again", "svd")
    assert again.manifest.source.sha256 == sha256_of(folder)
    np.testing.assert_array_equal(again.items, deezer.items)
    np.testing.assert_allclose(again.feature("item", "embedding"), deezer.feature("item", "embedding"), rtol=1e-6)


def damage(folder: Path, name: str, **columns: list[object]) -> None:
    table = pq.read_table(folder / name)
    for column, values in columns.items():
        table = table.set_column(table.column_names.index(column), column, pa.array(values))
    pq.write_table(table, folder / name)


@pytest.mark.parametrize(
    ("name", "columns", "words"),
    [
        ("song_embeddings.parquet", {"features_svd": ["[0.1 0.2]", "[0.1 none]"]}, "no list of numbers"),
        ("song_embeddings.parquet", {"features_svd": [[0.1, 0.2], [0.1]]}, "different sizes"),
        ("song_embeddings.parquet", {"features_svd": [[0.1, float("inf")], [0.1, 0.2]]}, "infinite"),
        ("song_embeddings.parquet", {"song_index": ["a", "b"]}, "whole numbers"),
        ("user_features_test.parquet", {"d1d30_songs": [[7]]}, "names the song 7"),
        ("user_features_test.parquet", {"user_index": [0]}, "another row or file"),
        ("user_features_test.parquet", None, "has neither"),
        ("user_embeddings.parquet", None, "does not exist"),
    ],
)
def test_bad_files_are_refused(tmp_path: Path, name: str, columns: dict[str, list[object]] | None, words: str) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    vectors = [[0.1, 0.2], [0.3, 0.4]]
    pq.write_table(pa.table({"song_index": [0, 1], "features_svd": vectors}), folder / "song_embeddings.parquet")
    pq.write_table(pa.table({"user_index": [0], "svd_embeddings": vectors[:1]}), folder / "user_embeddings.parquet")
    for user, part in enumerate(("train", "validation", "test")):
        cells = {"user_index": [user], "d1d30_songs": [[0, 1]], "age_embedding0": [0.5], "age_value": [None]}
        pq.write_table(pa.table(cells), folder / f"user_features_{part}.parquet")
    assert import_deezer(folder, tmp_path / "good", "good", "svd").num_users == 3
    if columns is None:
        (folder / name).unlink()
    else:
        damage(folder, name, **columns)
    with pytest.raises(DataError, match=words):
        import_deezer(folder, tmp_path / "data", "bad", "svd")
    assert not (tmp_path / "data").exists()


def test_fields_are_found_by_name() -> None:
    names = ["user_index", "b_embedding1", "b_embedding0", "a_c_embedding0", "age_value"]
    assert field_columns(names) == {
        "b_embedding": ("b_embedding0", "b_embedding1"),
        "a_c_embedding": ("a_c_embedding0",),
    }
    with pytest.raises(DataError, match="lacks some"):
        field_columns(["a_embedding0", "a_embedding2"])
    with pytest.raises(DataError, match="there is no column"):
        field_columns(["user_index"])


@given(st.lists(st.lists(st.integers(0, 99), max_size=4), max_size=5), st.sampled_from([", ", " ", ","]))
def test_lists_as_text_and_as_lists(rows: list[list[int]], between: str) -> None:
    texts = pa.array([f"[{between.join(map(str, row))}]" for row in rows], pa.string())
    for column in (texts, pa.array(rows, pa.list_(pa.int32())), pa.array(rows, pa.large_list(pa.float64()))):
        lengths, values = ragged(column, "here")
        assert lengths.tolist() == [len(row) for row in rows]
        assert values.tolist() == [number for row in rows for number in row]


def test_the_command_line_makes_up_finds_and_refuses(tmp_path: Path) -> None:
    run = CliRunner().invoke
    made = run(cli, ["data", "synthesize", "deezer", "--out", str(tmp_path / "f"), "--users", "12", "--songs", "10"])
    assert made.exit_code == 0, made.output
    assert detect_format(tmp_path / "f") == "deezer"
    again = run(cli, ["data", "synthesize", "deezer", "--out", str(tmp_path / "f")])
    assert isinstance(again.exception, DataError)
    arguments = ["data", "import", str(tmp_path / "f"), "--out", str(tmp_path / "d")]
    assert isinstance(run(cli, [*arguments, "--k-core", "2"]).exception, DataError)
    assert run(cli, arguments).exit_code == 0
    found = run(cli, ["data", "describe", str(tmp_path / "d"), "--json"])
    assert '"protocol": "given"' in found.output


def test_what_is_made_up_is_a_function_of_the_seed(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_synthetic(tmp_path / name, SyntheticOptions(users=12, songs=10, seed=seed))
    tables = [pq.read_table(tmp_path / name / "user_features_test_svd.parquet") for name in "abc"]
    assert tables[0].equals(tables[1])
    assert not tables[0].equals(tables[2])
    with pytest.raises(DataError, match="at least 10"):
        SyntheticOptions(users=3)
