"""`postings update`: the same as a full build on all counts, and only what was touched is changed."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.fresh_world import CONFIG, ITEMS, World, joined, log_of, random_world, rebuilt, remembering
from sparcode_es.codes import item_term
from sparcode_es.config import ItemCodesConfig, PostingsConfig
from sparcode_es.data.dataset import Sequences
from sparcode_es.data.features import FeatureTable
from sparcode_es.engines.embedded import EmbeddedEngine
from sparcode_es.errors import ArtifactError, DataError, MismatchError, StorageError
from sparcode_es.files import atomic_folder, sha256_of
from sparcode_es.models.sparcode import SparCode
from sparcode_es.postings import update
from sparcode_es.postings.artifact import Artifact
from sparcode_es.postings.folded import as_updated
from sparcode_es.serving.fresh import count_pairs
from sparcode_es.serving.pipeline import build_from_data, encode_known
from sparcode_es.serving.verify import verify
from sparcode_es.training.build import load_user_features

POSTINGS = ("code_offsets", "codes", "item_numbers", "scores")
USERS = ("user_code_offsets", "user_codes", "user_boosts", "user_seen_offsets", "user_seen_items")


AGE = FeatureTable("user", "age", "numerical", {f"u{u}": 20.0 + 7 * u for u in range(9)})
KINDS: dict[str, dict[str, Any]] = {
    "the history": {},
    "user features, too": {"features": [AGE]},
    "user features alone": {
        "features": [AGE],
        "model_config": replace(
            CONFIG,
            tokenizer=replace(CONFIG.tokenizer, source="features", kind="dnn"),
            item_codes=ItemCodesConfig(latest=0),
        ),
    },
}


def assert_same(left: Artifact, right: Artifact, names: tuple[str, ...] = POSTINGS + USERS) -> None:
    """Boosts to the last digits: users are encoded in other batches, of which some CPUs add up in another order."""
    for name in names:
        found, wanted = getattr(left, name), getattr(right, name)
        if name == "user_boosts":
            np.testing.assert_allclose(found, wanted, rtol=1e-5, err_msg=name)
        else:
            np.testing.assert_array_equal(found, wanted, err_msg=name)
    assert list(left.user_ids) == list(right.user_ids)


@pytest.mark.parametrize("seen", [False, True])
def test_a_cut_by_traffic_sees_the_test_events_only_where_it_is_told_to(tmp_path: Path, seen: bool) -> None:
    """What is measured on them would else have had a say in what is kept."""
    config = PostingsConfig(sparsity=0.8, cut="traffic", traffic_items=1, traffic_test=seen)
    old = {"u0": list(range(ITEMS))} | {f"u{u}": [(u + step) % ITEMS for step in range(6)] for u in range(1, 12)}
    others = {user: [*items[:-1], (items[-1] + 7) % ITEMS] if user != "u0" else items for user, items in old.items()}
    world = World(tmp_path / "world", old, config)
    other = World(tmp_path / "other", others)
    cut = build_from_data(world.encoder(), other.dataset, tmp_path / "cut", config)
    assert not np.array_equal(world.artifact.user_boosts, cut.user_boosts)
    assert np.array_equal(world.artifact.item_numbers, cut.item_numbers) is not seen


def test_features_in_the_checkpoint_are_not_read_for_other_users(tmp_path: Path) -> None:
    """A data folder with one user more numbers them anew."""
    old = {"u0": list(range(ITEMS))} | {f"u{u}": [u, u + 1, u + 2] for u in range(1, 8)}
    world = World(tmp_path / "world", old, **KINDS["user features, too"])
    more = World(tmp_path / "more", old | {"u10": old["u1"]}, **KINDS["user features, too"])
    with pytest.raises(MismatchError, match=r"holds features of 8 users, .* has 9; give the data it was trained on"):
        build_from_data(world.encoder(), more.dataset, tmp_path / "postings")


@pytest.mark.parametrize("reads", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_an_update_is_a_full_build_on_all_counts(tmp_path: Path, seed: int, reads: str) -> None:
    old, new = random_world(seed)
    world = World(tmp_path, old, **KINDS[reads])
    updated = world.update(world.artifact, log_of(new))
    assert_same(updated, rebuilt(world, old, new))
    assert (updated.model_hash, updated.codebook_hash) == (world.artifact.model_hash, world.artifact.codebook_hash)


@pytest.mark.parametrize("seed", range(3))
def test_two_updates_are_one(tmp_path: Path, seed: int) -> None:
    old, new = random_world(seed)
    later = {user: [(3 * item + 1) % ITEMS for item in items] for user, items in new.items() if user != "u4"}
    world = World(tmp_path, old)
    first = world.update(world.artifact, log_of(new), "first")
    second = world.update(first, log_of(later), "second")
    assert_same(second, world.update(world.artifact, log_of(joined(new, later)), "both"))
    assert second.manifest.updated_from == first.generation_hash
    assert [each.from_ for each in second.manifest.updates] == [
        world.artifact.generation_hash,
        first.generation_hash,
    ]
    assert second.manifest.counts.folded_events == sum(map(len, [*new.values(), *later.values()]))
    items, users = second.last_updates()
    assert set(items.tolist()) <= {0, 1, 2}
    assert users[0] == 0
    assert users[second.user_ids.find("u2")] == (2 if "u2" in later else 1 if "u2" in new else 0)


@settings(max_examples=40)
@given(st.lists(st.tuples(st.lists(st.integers(0, ITEMS - 1), max_size=9), st.integers(0, 9)), min_size=1, max_size=5))
def test_counts_of_a_part_and_of_the_rest_are_those_of_the_whole(histories: list[tuple[list[int], int]]) -> None:
    items = np.array([item for history, _ in histories for item in history], dtype=np.uint32)
    offsets = np.cumsum([0, *(len(history) for history, _ in histories)]).astype(np.uint64)
    whole = Sequences(offsets, items, np.arange(len(histories), dtype=np.uint32))
    later = np.concatenate([np.arange(len(history)) >= cut for history, cut in histories])
    of_item = np.bincount(items, minlength=ITEMS)
    model = remembering(SparCode(CONFIG, ITEMS), whole, of_item)
    parts = [count_pairs(model, whole, counted) for counted in (later, ~later)]
    for name, memory in (("codes", model.memory), ("items", model.item_memory)):
        assert memory is not None
        total = parts[0][name] + parts[1][name]
        np.testing.assert_allclose(total.toarray(), memory.trained().toarray(), atol=1e-5)
        memory.fit(parts[1][name].astype(np.float64), of_item)
        before, of_row = memory.lifts.toarray(), memory.of_row.numpy()
        memory.fold(parts[0][name])
        after = memory.lifts.toarray()
        memory.fit(total.astype(np.float64), of_item, of_row)
        np.testing.assert_allclose(after, memory.lifts.toarray(), rtol=1e-5)
        untouched = parts[0][name].toarray() == 0
        np.testing.assert_array_equal(after[untouched], before[untouched])


def test_only_touched_postings_change(tmp_path: Path) -> None:
    """One event: the item codes of the four items before it (the window), and the codes of the history before it."""
    old, _ = random_world(0)
    world = World(tmp_path, {**old, "u1": [1, 2, 3, 4, 5]})
    updated = world.update(world.artifact, log_of({"u1": [9]}))
    before, after = world.artifact, updated
    changed = {
        after.term(row)
        for row in range(after.num_codes)
        if any(
            (a.shape != b.shape or (a != b).any())
            for a, b in zip(before.postings(row), after.postings(row), strict=True)
        )
    }
    items = {term for term in changed if term.startswith("item_")}
    assert items == {item_term(world.dataset.item_ids.find(f"i{i}") or 0) for i in (2, 3, 4, 5)}
    known = {clause.term for clause in before.user_clauses(before.user_ids.find("u1") or 0)}
    repeated = {term for term in known if term.startswith("repeat_")}
    assert repeated == {f"repeat_{world.dataset.item_ids.find(f'i{i}')}" for i in range(1, 6)}
    known -= repeated
    assert changed - items <= known
    record = updated.manifest.updates[-1]
    assert record.changed.users == 1
    assert record.changed.codes == len(known | items)
    assert (before.last_updates()[0] == 0).all()
    assert int(after.last_updates()[1].sum()) == 1
    nine = world.dataset.item_ids.find("i9") or 0
    assert np.flatnonzero(after.last_updates()[0]).tolist() == [nine], "only the item that followed has other postings"
    assert record.changed.items == 1
    assert record.changed.postings <= len(known | items)


def test_a_new_user_gets_codes_and_is_recommended_to(tmp_path: Path) -> None:
    old, _ = random_world(1)
    world = World(tmp_path, old)
    updated = world.update(world.artifact, log_of({"nobody": [3, 5]}))
    entry = EmbeddedEngine(updated).user("nobody")
    assert entry.seen == ("i3", "i5")
    assert len(entry.clauses) > 2
    assert updated.manifest.updates[-1].new_users == 1
    encoded = world.encoder()(["i3", "i5"])
    assert len(entry.clauses) == len(encoded.codes)


def test_codes_of_features_alone_count_a_first_event_too(tmp_path: Path) -> None:
    """As `Pairs` does in training: nothing has to come before it."""
    world = World(tmp_path, random_world(1)[0], **KINDS["user features alone"])
    updated = world.update(world.artifact, log_of({"nobody": [3]}))
    assert np.load(updated.path / "folded_codes.items.npy").tolist() == [world.dataset.item_ids.find("i3")] * 3
    assert EmbeddedEngine(updated).user("nobody").clauses


@pytest.mark.parametrize("reads", KINDS)
def test_the_engine_answers_as_the_updated_model(tmp_path: Path, reads: str) -> None:
    old, new = random_world(2)
    world = World(tmp_path, old, **KINDS[reads])
    updated = world.update(world.artifact, log_of(new))
    model = world.encoder().model
    load_user_features(model, world.dataset)
    encode = partial(encode_known, model, updated)
    found = verify(EmbeddedEngine(updated), updated, as_updated(world.encoder().model, updated), encode, k=10)
    assert found.passed
    assert not verify(EmbeddedEngine(updated), updated, model, encode, k=10).passed, "lifts have changed"


def test_held_out_events_are_counted_where_they_lie(tmp_path: Path) -> None:
    old, _ = random_world(3)
    world = World(tmp_path, old)
    model, histories = world.model, world.dataset.full_histories()
    updated = world.update(world.artifact, None, splits=("valid",))
    held_out = world.dataset.labels == 1
    expected = count_pairs(model, histories, held_out)["items"]
    folded = np.load(updated.path / "folded_items.counts.npy")
    assert held_out.sum() == updated.manifest.counts.folded_events > 0
    assert folded.sum() == pytest.approx(expected.sum())
    assert_same(updated, world.artifact, USERS)
    with pytest.raises(DataError, match="split valid was folded"):
        world.update(updated, None, splits=("valid",))


class TestOtherWriters:
    """Another run writes where the artifact lies while it is being updated."""

    @pytest.fixture
    def world(self, tmp_path: Path) -> World:
        return World(tmp_path, random_world(4)[0])

    @pytest.fixture
    def base(self, world: World) -> Artifact:
        return world.update(world.artifact, log_of({"u1": [3], "fresh": [4, 7]}), "base")

    @staticmethod
    def replace(base: Artifact, world: World) -> Artifact:
        """Put another artifact, with as many items in another order, where `base` lies."""
        other = World(world.folder / "2", {"u0": list(range(ITEMS))[::-1], "u1": [5, 6]})
        with atomic_folder(base.path) as folder:
            shutil.copytree(other.artifact.path, folder, dirs_exist_ok=True)
        return Artifact.open(base.path)

    def test_what_was_opened_is_updated(self, world: World, base: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
        log = log_of({"u2": [9, 4]})
        expected = world.update(base, log, "expected")
        passes = update._write_postings

        def late(*arguments: Any) -> Any:
            written = passes(*arguments)
            self.replace(base, world)
            return written

        with monkeypatch.context() as patch:
            patch.setattr(update, "_write_postings", late)
            assert world.update(base, log, "late").generation_hash == expected.generation_hash
        assert world.update(base, log, "later").generation_hash == expected.generation_hash
        Artifact.open(world.folder / "late", verify=True)

    @pytest.mark.parametrize("moment", ["before", "meanwhile"])
    def test_an_update_in_place_of_another_artifact_is_refused(
        self, world: World, base: Artifact, monkeypatch: pytest.MonkeyPatch, moment: str
    ) -> None:
        found = []
        if moment == "before":
            found.append(self.replace(base, world))
        else:
            # A disk without locks: nobody is kept out.
            monkeypatch.setattr("fcntl.flock", lambda *_: (_ for _ in ()).throw(OSError(95, "no locks")))
            written = update.write_manifest
            monkeypatch.setattr(
                update, "write_manifest", lambda *them: (written(*them), found.append(self.replace(base, world)))
            )
        with pytest.raises(MismatchError, match=r"another run put the artifact .* run the update again"):
            world.update(base, log_of({"u2": [9, 4]}), base.path.name)
        assert Artifact.open(base.path, verify=True).generation_hash == found[0].generation_hash

    def test_two_updates_of_one_artifact_in_place(self, world: World, base: Artifact) -> None:
        first = world.update(base, log_of({"u2": [9]}, "a.txt"), base.path.name)
        with pytest.raises(MismatchError, match="run the update again"):
            world.update(base, log_of({"u3": [9]}, "b.txt"), base.path.name)
        second = world.update(first, log_of({"u3": [9]}, "b.txt"), base.path.name)
        assert [each.sources[0].name for each in second.manifest.updates] == ["new.txt", "a.txt", "b.txt"]

    def test_a_run_that_still_writes_keeps_others_out(self, world: World, base: Artifact) -> None:
        with atomic_folder(base.path) as folder:
            shutil.copytree(base.path, folder, dirs_exist_ok=True)
            with pytest.raises(StorageError, match="another run is writing"):
                world.update(base, log_of({"u2": [9]}), base.path.name)


class TestRefusals:
    @pytest.fixture
    def world(self, tmp_path: Path) -> World:
        return World(tmp_path, random_world(4)[0])

    def test_a_log_of_another_data_set(self, world: World) -> None:
        with pytest.raises(DataError, match="another data set"):
            world.update(world.artifact, log_of({"x": [100, 101], "y": [102]}))
        assert not (world.folder / "fresh").exists()

    def test_unknown_items_are_left_out_and_counted(self, world: World) -> None:
        updated = world.update(world.artifact, log_of({"u1": [100, 3, 101, 5], "ghost": [100]}))
        record = updated.manifest.updates[-1]
        assert (record.unknown_item_events, record.unknown_items, record.events) == (3, 2, 2)
        assert record.new_users == 0
        assert updated.user_ids.find("ghost") is None
        assert_same(updated, world.update(world.artifact, log_of({"u1": [3, 5]}), "known"))

    def test_a_log_twice(self, world: World) -> None:
        log = log_of({"u1": [3, 5]})
        updated = world.update(world.artifact, log)
        with pytest.raises(DataError, match=r"new\.txt was folded .* before"):
            world.update(updated, log, "again")

    def test_another_model(self, world: World, tmp_path: Path) -> None:
        other = World(tmp_path / "other", random_world(5)[0], weights=(1.0, 1.0))
        with pytest.raises(MismatchError, match="give the checkpoint"):
            other.update(world.artifact, log_of({"u1": [3]}))

    def test_other_data(self, world: World, tmp_path: Path) -> None:
        other = World(tmp_path / "other", {**random_world(4)[0], "zz": [1, 2]})
        world.dataset = other.dataset
        with pytest.raises(MismatchError, match="other users"):
            world.update(world.artifact, log_of({"u1": [3]}))

    def test_postings_cut_per_item(self, tmp_path: Path) -> None:
        world = World(tmp_path / "cut", random_world(4)[0], PostingsConfig(max_codes_per_item=3))
        with pytest.raises(ArtifactError, match="depends on every code's"):
            world.update(world.artifact, log_of({"u1": [3]}))


@pytest.mark.parametrize(
    ("part", "array"),
    [
        ("offsets", [0, 1 << 24]),
        ("offsets", [[0, 0]]),
        ("items", [ITEMS]),
        ("items", [0.5]),
        ("counts", []),
    ],
)
def test_folded_counts_that_point_outside_their_table_are_refused(tmp_path: Path, part: str, array: list[Any]) -> None:
    old, new = random_world(0)
    world = World(tmp_path, old)
    updated = world.update(world.artifact, log_of(new))
    file = updated.path / f"folded_items.{part}.npy"
    good = np.load(file)
    bad = np.resize(array, good.shape) if np.ndim(array) == 1 and array else np.array(array)
    np.save(file, bad.astype(good.dtype if bad.dtype.kind == "i" else bad.dtype))
    manifest = json.loads((updated.path / "manifest.json").read_text())
    manifest["files"][file.name] = {"bytes": file.stat().st_size, "sha256": sha256_of(file)}
    (updated.path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match="folded"):
        as_updated(world.model, Artifact.open(updated.path))


def test_a_cut_per_code_is_kept_and_items_that_lose_a_posting_are_marked(tmp_path: Path) -> None:
    world = World(tmp_path, random_world(4)[0], PostingsConfig(max_postings_per_code=2))
    updated = world.update(world.artifact, log_of({"u1": [3, 5, 7], "u2": [3]}))
    assert np.diff(updated.code_offsets.astype(np.int64)).max() == 2
    before, after = (
        [dict(zip(rows.tolist(), scores.tolist(), strict=True)) for _, rows, scores in each.by_item()]
        for each in (world.artifact, updated)
    )
    changed = [item for item in range(ITEMS) if before[item] != after[item]]
    assert any(after[item].items() < before[item].items() for item in changed), "one has lost a posting, and got none"
    assert np.flatnonzero(updated.last_updates()[0]).tolist() == changed
    assert updated.manifest.updates[-1].changed.items == len(changed)


def test_without_a_weight_only_users_change(tmp_path: Path) -> None:
    world = World(tmp_path, random_world(4)[0], weights=(0.0, 0.0))
    updated = world.update(world.artifact, log_of({"u1": [3, 5, 7]}))
    np.testing.assert_array_equal(updated.scores, world.artifact.scores)
    assert EmbeddedEngine(updated).user("u1").seen[-3:] == ("i3", "i5", "i7")
