"""`index --update` on a server in memory: what is written, and runs that meet. On real servers: test_index_update."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines.store import Store
from serving.fresh_world import PRODUCT, Updates
from sparcode_es.engines.elasticsearch import bulk
from sparcode_es.engines.elasticsearch import update as update_module
from sparcode_es.engines.elasticsearch.generations import listed
from sparcode_es.engines.elasticsearch.index import IndexOptions, index
from sparcode_es.engines.elasticsearch.layout import read_meta
from sparcode_es.engines.elasticsearch.runs import owner
from sparcode_es.engines.elasticsearch.update import update
from sparcode_es.engines.plans import Call
from sparcode_es.errors import EngineError, MismatchError, VerificationError
from sparcode_es.postings.artifact import Artifact


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Updates:
    return Updates(tmp_path_factory.mktemp("updates"))


@pytest.fixture
def store(artifacts: Updates) -> Store:
    found = Store()
    index(found, artifacts.base, IndexOptions("recs"), lambda what, more, total: None)
    return found


def updated(store: Store, artifact: Artifact) -> Any:
    return update(store, artifact, "recs", lambda what, more, total: None)


def assert_holds(store: Store, artifact: Artifact) -> None:
    """All documents are the artifact's, and the metadata say so."""
    for alias, documents in (
        ("recs", bulk.item_documents(artifact)),
        ("recs-users", bulk.user_documents(artifact)),
        ("recs-codes", bulk.code_documents(artifact)),
    ):
        there = store.indices[store.aliases[alias]].documents
        assert there == {name: json.loads(source) for name, source in documents}
    assert read_meta(store, "recs")["artifact"] == artifact.generation_hash
    assert listed(store, "recs")[0]["state"] == "ready"


def once(fits: Callable[[Call], bool], act: Callable[[], None]) -> Callable[[Call], None]:
    """A trouble that acts right before the first request that fits."""
    met: list[Call] = []

    def trouble(call: Call) -> None:
        if not met and fits(call):
            met.append(call)
            act()

    return trouble


def is_mark(call: Call) -> bool:
    return call.method == "PUT" and call.path.endswith("_mapping") and "update" in call.body.get("_meta", {})


def test_every_step_that_leads_to_the_update_is_written(store: Store, artifacts: Updates) -> None:
    steps = artifacts.second.last_updates()[0]
    assert {1, 2} <= set(steps.tolist()), "items that the first step changed last, and items that the second did"
    report = updated(store, artifacts.second)
    assert report.updated_from == artifacts.base.generation_hash
    assert report.items == int((steps > 0).sum())
    assert_holds(store, artifacts.second)


def test_codes_that_are_new_come_in(tmp_path: Path) -> None:
    """Even one before all others, from which runs that meet cannot be told in what is live."""
    artifacts, store = Updates(tmp_path, PRODUCT), Store()
    index(store, artifacts.base, IndexOptions("recs"), lambda what, more, total: None)
    assert artifacts.second.num_codes > artifacts.first.num_codes > artifacts.base.num_codes
    updated(store, artifacts.first)
    assert_holds(store, artifacts.first)
    updated(store, artifacts.second)
    assert_holds(store, artifacts.second)


def test_the_last_step_alone_where_the_first_is_there(store: Store, artifacts: Updates) -> None:
    updated(store, artifacts.first)
    assert_holds(store, artifacts.first)
    report = updated(store, artifacts.second)
    assert report.items == int((artifacts.second.last_updates()[0] > 1).sum())
    assert_holds(store, artifacts.second)
    assert updated(store, artifacts.second).items == 0


@pytest.mark.parametrize("last", ["the mark", "the claim"])
def test_of_two_runs_that_looked_before_either_marked_one_goes_on(store: Store, artifacts: Updates, last: str) -> None:
    """The other one begins, and is done, between what this one looked for and what it wrote."""

    def other() -> None:
        updated(store, artifacts.other)

    claimed = f"/{store.aliases['recs-users']}/_doc/"
    store.trouble = once(is_mark if last == "the mark" else lambda call: call.path.startswith(claimed), other)
    words = "at the same time" if last == "the mark" else "was not updated"
    with pytest.raises((EngineError, MismatchError), match=words):
        updated(store, artifacts.second)
    if last == "the mark":
        assert listed(store, "recs")[0]["state"] == "updating", "the mark of the one that was refused"
        with pytest.raises(MismatchError, match="half-way"):
            updated(store, artifacts.other)
        return
    assert_holds(store, artifacts.other)


def test_a_run_that_looked_and_was_refused_does_not_stop_the_other(store: Store, artifacts: Updates) -> None:
    """Its mark comes over the mark of the one that goes on, which is the only one that writes."""

    def marked_by_another() -> None:
        name = store.aliases["recs"]
        mark = {"to": "123456789abc", "owner": owner(), "run": "another", "alone": False}
        store.indices[name].mappings["_meta"] |= {"update": mark}

    store.trouble = once(lambda call: call.path.endswith("_bulk"), marked_by_another)
    updated(store, artifacts.first)
    assert_holds(store, artifacts.first)


@pytest.mark.parametrize("finished", [False, True])
def test_a_run_that_was_taken_for_dead_does_not_say_that_it_is_done(
    store: Store, artifacts: Updates, finished: bool
) -> None:
    """It stood still, another one began, and perhaps finished: what is there now is of both."""

    def taken_over() -> None:
        meta = store.indices[store.aliases["recs"]].mappings["_meta"]
        mark = meta.pop("update")
        if not finished:
            meta["update"] = {**mark, "run": "another"}

    store.trouble = once(lambda call: call.path.endswith("_count"), taken_over)
    with pytest.raises(EngineError, match=r"stood still.*leave out --update"):
        updated(store, artifacts.first)
    assert read_meta(store, "recs")["artifact"] == artifacts.base.generation_hash


def test_a_run_that_lives_keeps_others_out(store: Store, artifacts: Updates) -> None:
    mark = {"to": artifacts.first.generation_hash, "owner": owner(), "run": "another", "alone": True}
    store.indices[store.aliases["recs"]].mappings["_meta"] |= {"update": mark}
    for begin in (
        updated,
        lambda store, artifact: index(store, artifact, IndexOptions("recs"), lambda what, more, total: None),
    ):
        with pytest.raises(EngineError, match="loading or updating"):
            begin(store, artifacts.first)


@pytest.mark.parametrize("change", [{"postings": 10_000}, {"codes": {}}], ids=["codes more", "codes less"])
def test_what_was_written_is_looked_at_again(
    store: Store, artifacts: Updates, change: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Documents of an older run that come late are found out where no sampled code tells, and a rerun puts them right."""
    monkeypatch.setattr(update_module, "check", lambda *arguments: None)
    wanted = artifacts.first.last_updates()[0] > 0
    name = artifacts.first.item_ids[int(np.argmax(wanted))]
    documents = store.indices[store.aliases["recs"]].documents

    def late() -> None:
        documents[name] = {**documents[name], **change}

    store.trouble = once(lambda call: call.path.endswith("_refresh"), late)
    with pytest.raises(VerificationError, match=rf"{name}.*leave out --update"):
        updated(store, artifacts.first)
    assert listed(store, "recs")[0]["state"] == "updating"
    updated(store, artifacts.first)
    assert_holds(store, artifacts.first)
