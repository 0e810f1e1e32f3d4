"""Generations of an alias over their life: which is live, which are deleted."""

from __future__ import annotations

from typing import Any

from sparcode_es.engines.elasticsearch import chronicle
from sparcode_es.engines.elasticsearch.connection import Server
from sparcode_es.engines.elasticsearch.layout import (
    READY,
    WITHDRAWN,
    aliases_of,
    check_name,
    codes_name,
    generations,
    has_codes,
    live_generation,
    path_of,
    state_of,
    write_meta,
)
from sparcode_es.engines.elasticsearch.runs import loading_generations
from sparcode_es.errors import EngineError, NotFoundError, SparcodeError


def point(server: Server, name: str, suffix: str) -> None:
    """Move all aliases to a generation, in one request. One without a codes index leaves the alias of codes away."""
    actions: list[dict[str, Any]] = []
    for alias in aliases_of(name):
        live = live_generation(server, alias)
        if live is not None and live != suffix:
            actions.append({"remove": {"index": f"{alias}-{live}", "alias": alias}})
        if alias != codes_name(name) or has_codes(server, name, suffix):
            actions.append({"add": {"index": f"{alias}-{suffix}", "alias": alias}})
    try:
        server.call("POST", "/_aliases", {"actions": actions})
    except SparcodeError:
        # Sent again after its answer was lost, a request that was carried out is refused: there is nothing left to move.
        if any(live_generation(server, action["add"]["alias"]) != suffix for action in actions if "add" in action):
            raise


def rollback(server: Server, name: str, to: str | None = None) -> str:
    """Move the aliases to the generation before the live one, or to an older one by its index; returns its index.

    What is newer is withdrawn: it is the first to be deleted, and a later rollback, which never goes forward, passes it by unless
    it is named. Where the alias was deleted, `to` puts it back on any generation that is ready.
    """
    live = live_generation(server, check_name(name))
    ready = _ready(server, name)
    good = [suffix for suffix, meta in ready.items() if not meta.get(WITHDRAWN)]
    if live is None and to is None:
        advice = f"; `generations rollback --to {name}-{(good or [*ready])[-1]}` puts it back" if ready else ""
        raise NotFoundError(f"{server.where} has no index alias {name}, nothing to roll back{advice}.")
    older = [suffix for suffix in (good if to is None else ready) if live is None or suffix < live]
    if not older and to is None:
        raise NotFoundError(f"{name} has no generation older than {live} to go back to.")
    suffix = older[-1] if to is None else to.removeprefix(f"{name}-")
    if suffix not in older:
        than = "" if live is None else f" older than {live}"
        raise NotFoundError(f"{name} has no ready generation {to}{than}; `generations list` names them.")
    for each, meta in ready.items():
        if each >= suffix and bool(meta.get(WITHDRAWN)) != (each > suffix):
            write_meta(server, f"{name}-{each}", {**meta, WITHDRAWN: each > suffix})
    point(server, name, suffix)
    chronicle.record(server, name)
    return f"{name}-{suffix}"


def _ready(server: Server, name: str) -> dict[str, dict[str, Any]]:
    """The generations that are or were live, oldest first, and their metadata."""
    return {suffix: meta for suffix, meta in generations(server, name).items() if meta.get("state") == READY}


def delete(server: Server, name: str, suffix: str) -> list[str]:
    """Delete the indices of a generation; the items index, which says whose it is, last."""
    names = [f"{alias}-{suffix}" for alias in reversed(aliases_of(name))]
    for each in names:
        server.call("DELETE", path_of(each), params={"ignore_unavailable": "true"})
    return names


def remove_leftovers(server: Server, name: str, spared: str | None = None) -> list[str]:
    """Delete what killed runs left, but for one generation. Raises `EngineError` when another run is loading right now.

    A live generation whose run was killed right after the swap is complete: it is marked so.
    """
    alive = loading_generations(server, name)
    if alive:
        raise EngineError(
            f"another `index` is loading or updating {name}-{alive[0]}; wait for it, or end it and try again."
        )
    live, removed = live_generation(server, name), []
    for suffix, meta in generations(server, name).items():
        if meta.get("state") == READY or suffix == spared:
            continue
        if suffix == live:
            write_meta(server, f"{name}-{suffix}", {**meta, "state": READY})
        else:
            removed += delete(server, name, suffix)
    return removed


def listed(server: Server, name: str) -> list[dict[str, Any]]:
    """Every generation, oldest first: its items index, state (see `state_of`), whether it is live, model hash, and the artifact
    it holds. Raises `NotFoundError` where there is none."""
    live, found = live_generation(server, check_name(name)), generations(server, name)
    if not found:
        raise _none(server, name)
    return [
        {
            "generation": f"{name}-{suffix}",
            "state": state_of(meta),
            "live": suffix == live,
            "model_hash": meta.get("model_hash"),
            "artifact": meta.get("artifact"),
        }
        for suffix, meta in found.items()
    ]


def _none(server: Server, name: str) -> NotFoundError:
    return NotFoundError(f"{server.where} has no generation of {name}; `sparcode-es index` makes one.")


def remove_old(server: Server, name: str, keep: int, before: str | None = None) -> list[str]:
    """Delete generations but for `keep`: those that an alias stands for, never deleted, the one that was live `before`, the
    newest; withdrawn ones last of all."""
    live, ready = {live_generation(server, alias) for alias in aliases_of(name)}, _ready(server, name)
    worth = sorted(ready, key=lambda s: (s in live, not ready[s].get(WITHDRAWN), s == before, s), reverse=True)
    return [index for s in sorted(worth[keep:]) if s not in live for index in delete(server, name, s)]


def prune(server: Server, name: str, keep: int) -> list[str]:
    """Delete what killed runs left, and generations but for `keep` as in `remove_old`; returns the deleted indices. Raises
    `NotFoundError` where there is none."""
    if not generations(server, check_name(name)):
        raise _none(server, name)
    removed = remove_leftovers(server, name) + remove_old(server, name, keep)
    chronicle.record(server, name)
    return removed
