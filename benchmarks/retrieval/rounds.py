"""One ask of several systems in turns, with quality in the same row as time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import click
from timing import time_queries

from retrieval.answers import Exact, quality
from retrieval.clients import CLIENTS, time_clients
from retrieval.record import Row
from retrieval.systems import ASKS, BARE, MANY, Ask, System


def warm(systems: list[System], queries: int, users: int) -> None:
    """Ask servers until their just-in-time compilers have seen every kind of request `queries` times."""
    for ask in ASKS:
        for system in systems:
            for query in range(queries // ask.batch if ask.name in system.asks else 0):
                system.answer(ask, query * ask.batch % users)


def time_asks(
    systems: list[System], exact: Exact, queries: int, judged: int, threads: int, asks: tuple[Ask, ...] = ASKS
) -> list[Row]:
    """A row a system and ask: p50, p95, p99 in ms a user, recall, uncut."""
    rows = []
    for ask in asks:
        able = [system for system in systems if ask.name in system.asks]
        if able:
            rows += time_ask(able, ask, exact, queries, judged, threads)
    return rows


def time_ask(systems: list[System], ask: Ask, exact: Exact, queries: int, judged: int, threads: int) -> list[Row]:
    """The rows of one ask. judged: users whose answers are compared with the exact ones."""
    click.echo(f"{ask.name}: {', '.join(system.label for system in systems)}", err=True)
    users = len(exact.queries)
    asked: dict[str, Callable[[int], Any]] = {
        system.label: lambda i, system=system: system.answer(ask, i * ask.batch % users)  # type: ignore[misc]
        for system in systems
    }
    times = time_queries(asked, max(10, queries // ask.batch))
    good = {} if ask.name == MANY.name else quality(exact, systems, ask, judged)
    return [
        row_of(system, ask)
        | {name: round(value / ask.batch, 4) for name, value in asdict(times[system.label]).items()}
        | {"threads": threads, "clients": 1, "queries": queries}
        | good.get(system.label, {})
        for system in systems
    ]


def row_of(system: System, ask: Ask) -> Row:
    """Who was asked what."""
    return {"system": system.name, "setting": system.setting, "ask": ask.name, "k": ask.k, **system.about}


def time_crowds(systems: list[System], queries: int, users: int, threads: int) -> list[Row]:
    """Rows of 1, 4 and 16 clients at the same time."""
    rows = []
    for system in systems:
        if system.client is not None:
            for clients in CLIENTS:
                click.echo(f"{clients} clients: {system.label}", err=True)
                measured = time_clients(system, clients, queries, users)
                rows.append(row_of(system, BARE) | measured | {"threads": threads, "clients": clients, "crowd": True})
    return rows
