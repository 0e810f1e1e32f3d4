"""The end of a load: what the server's absence, a gateway's patience or late replicas cost after the upload. In memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from engines.store import Store
from serving.small_world import build
from sparcode_es.engines.elasticsearch import runs, segments
from sparcode_es.engines.elasticsearch.connection import ConnectionConfig, Server
from sparcode_es.engines.elasticsearch.generations import listed, prune
from sparcode_es.engines.elasticsearch.index import IndexOptions, IndexReport, index
from sparcode_es.engines.plans import Call, Operation
from sparcode_es.errors import (
    EngineAuthError,
    EngineError,
    EngineUnavailableError,
    NotFoundError,
    SparcodeError,
    VerificationError,
)
from sparcode_es.postings.artifact import Artifact

AWAY = EngineUnavailableError("the server is away.")


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return build(tmp_path_factory.mktemp("end") / "postings")


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr(segments, "POLL_SECONDS", 0.0)
    return Store()


def load(store: Store, artifact: Artifact, **options: object) -> IndexReport:
    chosen = IndexOptions("recs", **options)  # type: ignore[arg-type]
    return index(store, artifact, chosen, lambda what, more, total: None)


def failing(ending: str, error: SparcodeError = AWAY, times: int = 10**6, method: str = "") -> Callable[[Call], None]:
    """A trouble of the first requests whose path ends so."""
    left = [times]

    def trouble(call: Call) -> None:
        if call.path.endswith(ending) and method in call.method and left[0]:
            left[0] -= 1
            raise error

    return trouble


def sent(store: Store, ending: str) -> int:
    return sum(request.endswith(ending) for request in store.sent)


def states(store: Store) -> list[str]:
    """Of each generation, * for the live one; [] where there is none."""
    try:
        return [f"{row['state']}{'*' if row['live'] else ''}" for row in listed(store, "recs")]
    except NotFoundError:
        return []


@pytest.mark.parametrize("ending", ["_forcemerge", "_settings", "_stats/docs", "_count", "_search", "/_aliases"])
@pytest.mark.parametrize("error", [AWAY, EngineAuthError("the key has expired.")], ids=["away", "expired"])
def test_what_was_uploaded_stays_and_the_same_command_finishes_it(
    store: Store, artifact: Artifact, ending: str, error: SparcodeError
) -> None:
    method = "PUT" if ending == "_settings" else ""
    store.trouble = lambda call: failing(ending, error, method=method)(call) if sent(store, "_bulk") else None
    with pytest.raises(type(error), match="give the same command again") as caught:
        load(store, artifact)
    assert str(error) in str(caught.value)
    assert states(store) == ["loaded"]
    store.trouble, store.sent = lambda call: None, []
    report = load(store, artifact)
    assert states(store) == ["ready*"]
    assert report.generation == store.aliases["recs"]
    assert report.removed == []
    assert [path for path in store.sent if path.endswith("_bulk")] == ["POST /recs-generations/_bulk"]
    assert sent(store, "_forcemerge") == (1 if ending == "_forcemerge" else 0), "what is merged is not merged again"


def test_late_replicas(store: Store, artifact: Artifact) -> None:
    old = load(store, artifact).generation
    store.trouble = lambda call: setattr(store, "missing", 3 if call.path.endswith("_forcemerge") else store.missing)
    with pytest.raises(
        EngineUnavailableError, match=r"started 3 of 6 shards.*in 0 s.*What was uploaded stays in recs-"
    ):
        load(store, artifact, replica_seconds=0.0)
    assert (store.aliases["recs"], states(store)) == (old, ["ready*", "loaded"])
    store.trouble, store.missing = lambda call: None, 0
    new = load(store, artifact).generation
    assert new != old
    assert states(store) == ["ready", "ready*"]


def test_what_was_loaded_otherwise_is_not_taken_up(store: Store, artifact: Artifact) -> None:
    for options, others in (({}, {"store_codes": True}), ({}, {"shards": 2}), ({"shards": 2}, {})):
        store.trouble = failing("_forcemerge")
        with pytest.raises(EngineUnavailableError):
            load(store, artifact, **options)
        (left,) = [row["generation"] for row in listed(store, "recs") if row["state"] == "loaded"]
        store.trouble, store.sent = lambda call: None, []
        assert left in load(store, artifact, **others).removed
        assert sent(store, "_bulk") > 1


def test_what_was_being_deleted_is_not_taken_up(store: Store, artifact: Artifact) -> None:
    """A run that deletes what another left, killed after the first of its indices: the items and their state are still there."""
    store.trouble = failing("_forcemerge")
    with pytest.raises(EngineUnavailableError):
        load(store, artifact)
    (left,) = [row["generation"] for row in listed(store, "recs")]
    suffix = left.removeprefix("recs-")
    store.trouble = failing(f"recs-users-{suffix}", method="DELETE")
    with pytest.raises(EngineUnavailableError):
        prune(store, "recs", 2)
    assert f"DELETE /recs-codes-{suffix}" in store.sent
    assert states(store) == ["loaded"]
    store.trouble = lambda call: None
    report = load(store, artifact)
    assert left in report.removed
    assert report.generation != left
    assert states(store) == ["ready*"]


def test_what_is_left_can_be_deleted(store: Store, artifact: Artifact) -> None:
    store.trouble = failing("_forcemerge")
    with pytest.raises(EngineUnavailableError, match="generations prune` deletes it"):
        load(store, artifact)
    store.trouble = lambda call: None
    assert len(prune(store, "recs", 2)) == 3
    assert states(store) == []


@pytest.mark.parametrize("ending", ["_bulk", "_forcemerge"])
def test_another_error_still_deletes(store: Store, artifact: Artifact, ending: str) -> None:
    store.trouble = failing(ending, EngineError("refused"))
    with pytest.raises(EngineError, match="refused"):
        load(store, artifact)
    assert states(store) == []


def test_an_upload_that_did_not_end_is_deleted(store: Store, artifact: Artifact) -> None:
    store.trouble = failing("_bulk")
    with pytest.raises(EngineUnavailableError) as caught:
        load(store, artifact)
    assert "same command" not in str(caught.value)
    assert states(store) == []


def test_what_was_taken_up_and_fails_its_check_is_deleted(store: Store, artifact: Artifact) -> None:
    store.trouble = failing("_forcemerge")
    with pytest.raises(EngineUnavailableError):
        load(store, artifact)
    store.trouble = lambda call: None
    (items,) = [name for name in store.indices if name.startswith("recs-2")]
    store.indices[items].documents.popitem()
    with pytest.raises(VerificationError):
        load(store, artifact)
    assert states(store) == []


@pytest.mark.parametrize("error", [AWAY, EngineError("refused")], ids=["away", "refused"])
def test_a_live_generation_is_never_deleted(
    store: Store, artifact: Artifact, error: SparcodeError, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The aliases were moved, and only that could not be written down; the next run does it."""
    store.trouble = lambda call: failing("_mapping", error, method="PUT")(call) if store.aliases else None
    with pytest.raises(type(error)):
        load(store, artifact)
    assert states(store) == ["loaded*"]
    monkeypatch.setattr(runs, "runs_here", lambda pid: False)
    store.trouble, store.sent = lambda call: None, []
    load(store, artifact)
    assert states(store) == ["ready*"]
    assert sent(store, "/_bulk") == 1, "the list of generations"


def test_a_gateway_that_gives_up_a_merge_does_not_make_it_begin_again(store: Store, artifact: Artifact) -> None:
    """Elasticsearch merges on: what it comes to is waited for."""
    going = [2, 1, 1, 0]

    def merging() -> int:
        if not going[1:]:
            for found in store.indices.values():
                found.segments = min(1, found.segments)
        return going.pop(0)

    store.merging, store.trouble = merging, failing("_forcemerge")
    load(store, artifact)
    assert sent(store, "_forcemerge") == 1
    assert going == []
    assert states(store) == ["ready*"]


def test_a_merge_that_came_to_nothing_is_asked_for_again(store: Store, artifact: Artifact) -> None:
    store.trouble = failing("_forcemerge", times=2)
    load(store, artifact)
    assert sent(store, "_forcemerge") == 3


def test_a_merge_that_always_comes_to_nothing_ends(store: Store, artifact: Artifact) -> None:
    store.trouble = failing("_forcemerge")
    with pytest.raises(EngineUnavailableError):
        load(store, artifact)
    assert sent(store, "_forcemerge") == segments.MERGES


@pytest.mark.slow
@pytest.mark.elasticsearch
@pytest.mark.parametrize("which", ["elasticsearch_7", "elasticsearch_9"])
def test_a_merge_whose_answer_is_lost_on_real_servers(
    which: str, request: pytest.FixtureRequest, artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "POLL_SECONDS", 0.1)
    server = Server(ConnectionConfig(url=request.getfixturevalue(which).url))
    perform, asked = server.perform, []

    def lost(wanted: Operation) -> Any:
        answer = perform(wanted)
        if isinstance(wanted, Call) and wanted.path.endswith("_forcemerge"):
            asked.append(wanted)
            raise AWAY
        return answer

    monkeypatch.setattr(server, "perform", lost)
    options = IndexOptions("merged", compact=True)
    report = index(server, artifact, options, lambda what, more, total: None)
    assert len(asked) == 1
    assert segments.is_merged(server, f"/{report.generation}")
    server.close()


def test_a_heartbeat_brings_no_state_back(store: Store, artifact: Artifact) -> None:
    states_written = []

    def note(call: Call) -> None:
        if call.method == "PUT" and call.path.endswith("_mapping"):
            states_written.append((call.body["_meta"]["state"], call.body["_meta"]["merged"]))

    store.trouble = note
    load(store, artifact)
    assert states_written == [("loaded", False), ("loaded", True), ("ready", True)]
