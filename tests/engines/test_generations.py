"""Generations over their life: what rollbacks and loads keep, delete and go back to. The server is one in memory."""

from __future__ import annotations

import pytest

from engines.store import Store
from serving.small_world import build
from sparcode_es.engines.elasticsearch import generations
from sparcode_es.engines.elasticsearch.generations import listed, prune, rollback
from sparcode_es.engines.elasticsearch.index import IndexOptions, index
from sparcode_es.engines.elasticsearch.inspector import generation_contents
from sparcode_es.errors import EngineError, NotFoundError
from sparcode_es.postings.artifact import Artifact


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return build(tmp_path_factory.mktemp("generations") / "postings")


@pytest.fixture
def store() -> Store:
    return Store()


def load(store: Store, artifact: Artifact, keep: int = 2) -> str:
    return index(store, artifact, IndexOptions("recs", keep=keep), lambda what, more, total: None).generation


def states(store: Store) -> dict[str, str]:
    """Generation → its state, the live one with a star."""
    return {str(row["generation"]): f"{row['state']}{'*' if row['live'] else ''}" for row in listed(store, "recs")}


def test_a_load_after_a_rollback_keeps_the_good_generation_and_deletes_the_withdrawn_one(
    store: Store, artifact: Artifact
) -> None:
    good, bad = load(store, artifact), load(store, artifact)
    assert rollback(store, "recs") == good
    assert states(store) == {good: "ready*", bad: "withdrawn"}
    new = load(store, artifact)
    assert states(store) == {good: "ready", new: "ready*"}
    assert rollback(store, "recs") == good
    assert states(store) == {good: "ready*", new: "withdrawn"}


def test_a_second_rollback_passes_by_what_was_withdrawn(store: Store, artifact: Artifact) -> None:
    good, bad = load(store, artifact, 9), load(store, artifact, 9)
    rollback(store, "recs")
    new = load(store, artifact, 9)
    assert rollback(store, "recs") == good
    assert states(store) == {good: "ready*", bad: "withdrawn", new: "withdrawn"}
    with pytest.raises(NotFoundError, match="no generation older"):
        rollback(store, "recs")
    for name in ("nope", new):  # a rollback never goes forward
        with pytest.raises(NotFoundError, match=f"no ready generation {name} older than .*; `generations list`"):
            rollback(store, "recs", name)


def test_what_was_passed_over_is_withdrawn_too_and_can_be_named(store: Store, artifact: Artifact) -> None:
    names = [load(store, artifact, 9) for _ in range(3)]
    assert rollback(store, "recs", names[0]) == names[0]
    assert states(store) == {names[0]: "ready*", names[1]: "withdrawn", names[2]: "withdrawn"}
    new = load(store, artifact, 9)
    assert rollback(store, "recs", names[1]) == names[1]
    assert states(store) == {names[0]: "ready", names[1]: "ready*", names[2]: "withdrawn", new: "withdrawn"}


def test_the_generation_that_was_live_before_the_swap_outlives_newer_ones(store: Store, artifact: Artifact) -> None:
    names = [load(store, artifact, 9) for _ in range(3)]
    generations.point(store, "recs", names[0].removeprefix("recs-"))
    new = load(store, artifact, 2)
    assert states(store) == {names[0]: "ready", new: "ready*"}


def test_pruning_deletes_the_withdrawn_ones_first(store: Store, artifact: Artifact) -> None:
    names = [load(store, artifact, 9) for _ in range(3)]
    rollback(store, "recs")
    prune(store, "recs", 2)
    assert states(store) == {names[0]: "ready", names[1]: "ready*"}
    prune(store, "recs", 1)
    assert states(store) == {names[1]: "ready*"}


def test_a_generation_without_its_codes_can_be_gone_back_to_but_not_looked_into(
    store: Store, artifact: Artifact
) -> None:
    old, new = load(store, artifact), load(store, artifact)
    del store.indices[old.replace("recs", "recs-codes", 1)]
    with pytest.raises(EngineError, match=rf"no codes index of {old}: .*load it again with `sparcode-es index`"):
        generation_contents(store, "recs", old)
    rollback(store, "recs")
    assert states(store) == {old: "ready*", new: "withdrawn"}


def test_a_generation_without_its_items_is_listed(store: Store, artifact: Artifact) -> None:
    old, new = load(store, artifact), load(store, artifact)
    del store.indices[old]
    assert [(row["generation"], row["artifact"]) for row in listed(store, "recs")] == [
        (old, None), (new, artifact.generation_hash)
    ]  # fmt: skip


def test_all_aliases_move_together(store: Store, artifact: Artifact) -> None:
    first, second = load(store, artifact), load(store, artifact)
    for generation in (second, first):
        suffix = generation.removeprefix("recs-")
        assert store.aliases == {name: f"{name}-{suffix}" for name in ("recs", "recs-users", "recs-codes")}
        if generation == second:
            assert store.sent.count("POST /_aliases") == 2, "one request a move"
            rollback(store, "recs")
