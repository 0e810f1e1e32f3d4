"""Cases that come from outside: HTTP requests, command lines, and a server's answers."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import io
import json
import os
import random
from pathlib import Path
from typing import Any

import click
import httpx
from elasticsearch import Elasticsearch
from sparcode_es_cli.main import cli, main

from mutation.mutate import HUGE, WORDS, hostile_value, json_bytes, mutate_bytes
from mutation.replies import NAME, Damaged, Replies
from sparcode_es import Limits, Recommender
from sparcode_es.engines.elasticsearch.capabilities import capabilities
from sparcode_es.engines.elasticsearch.connection import Server
from sparcode_es.engines.elasticsearch.engine import ElasticsearchEngine
from sparcode_es.engines.elasticsearch.inspector import ElasticsearchInspector
from sparcode_es.engines.elasticsearch.layout import generations, live_generation, read_meta
from sparcode_es.engines.embedded import EmbeddedEngine
from sparcode_es.errors import SparcodeError
from sparcode_es.postings.artifact import Artifact
from sparcode_es.serving.service import make_app

BODY: dict[str, Any] = {
    "user": "3", "k": 5, "page": 1, "filter": {"kind": ["a"], "year": {"gte": 1990}}, "exclude": ["1"], "exclude_seen": True,
    "boost": {"kind": {"a": 1.5}}, "pin": {"1": "2"}, "diversify": {"weight": 0.3, "pool": 10}, "explain": True,
}  # fmt: skip
LIMITS = Limits(timeout=5, budget=5, attempts=2, pause=0)


class Refused(SparcodeError):
    """A refusal that came as a status or an exit code."""


@functools.lru_cache(1)
def _service(seeds: Path) -> Any:
    return make_app(Recommender.from_artifact(seeds / "postings"))


@functools.lru_cache(1)
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


def requests(rng: random.Random, seeds: Path, work: Path) -> None:
    """Bodies, paths, queries and headers that the service cannot expect."""
    transport = httpx.ASGITransport(_service(seeds))
    kept = {key: value for key, value in BODY.items() if key == "user" or rng.random() < 0.5}
    content = json_bytes(rng, kept) if rng.random() < 0.85 else mutate_bytes(rng, json.dumps(kept).encode())
    headers = {"content-type": rng.choice(("application/json",) * 4 + ("text/plain", "multipart/form-data", "x"))}
    params = {"user": _word(rng), "item": _word(rng)}

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            if rng.random() < 0.8:
                return await client.post("/recommend", content=content, headers=headers)
            path = rng.choice(("/explain", "/explain", "/healthz", "/metrics", "/nowhere", "/recommend"))
            return await client.get(path, params=params)

    answer = _loop().run_until_complete(ask())
    if answer.status_code >= 500:
        raise AssertionError(f"{answer.status_code}: {answer.text[:200]}")
    if answer.status_code >= 400:
        raise Refused(answer.text[:200])


def _word(rng: random.Random) -> str:
    word = rng.choice(WORDS)[:400].decode("utf-8", "replace")
    return rng.choice(("1", "3", word, "x" * 600, str(rng.choice(HUGE)), "\u202e", "é" * 300))


PARSED_ONLY = {"demo", "fetch", "serve", "node", "train", "index", "kibana", "generations", "ui", "evaluate", "verify"}
"""Commands that start something, train, or ask a server: their arguments are parsed, and no more."""
RUN = (
    "data import",
    "data describe",
    "query",
    "query",
    "inspect",
    "report",
    "export",
    "role",
    "completion",
    "train --print-config",
)


def command_line(rng: random.Random, seeds: Path, work: Path) -> None:
    """Commands with flags drawn from their own, and values that no flag expects."""
    if rng.random() < 0.4:
        _parse(rng)
    else:
        _run(_arguments(rng, seeds, work))


def _parse(rng: random.Random) -> None:
    command = cli.get_command(click.Context(cli), rng.choice(cli.list_commands(click.Context(cli))))
    while isinstance(command, click.Group):
        command = command.get_command(click.Context(command), rng.choice(command.list_commands(click.Context(command))))
    assert command is not None
    flags = [option for each in command.params for option in each.opts if isinstance(each, click.Option)]
    arguments = [part for _ in range(rng.randint(0, 5)) for part in (rng.choice([*flags, _word(rng)]), _value(rng))]
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            command.make_context("x", _as_given(arguments))
    except (click.ClickException, click.exceptions.Exit) as error:
        raise Refused(str(error)) from error


VALUES = ("1", "user:age:numerical", "kind=a", "kind=a:2", "1=2", "NaN", "-1")


def _value(rng: random.Random) -> str:
    return str(rng.choice((*VALUES, _word(rng), hostile_value(rng))))[:3000]


def _as_given(arguments: list[str]) -> list[str]:
    """Arguments as a process gets them: bytes without zeros, of which those that are no UTF-8 become half surrogate pairs."""
    return [os.fsdecode(part.replace("\0", "0").encode("utf-8", "surrogatepass")) for part in arguments]


def _arguments(rng: random.Random, seeds: Path, work: Path) -> list[str]:
    files = seeds / "files"
    given = {
        "data import": [str(rng.choice(sorted(files.iterdir()))), "--out", str(work / "out")],
        "data describe": [str(rng.choice((seeds / "data", seeds / "postings", files)))],
        "query": ["--postings", str(seeds / "postings"), "--user", rng.choice(("3", _word(rng)))],
        "inspect": [
            rng.choice(("codes", "item", "user", "dead", "code", "why", "diff")),
            "--postings",
            str(seeds / "postings"),
        ],
        "report": ["--postings", str(seeds / "postings"), "--out", str(work / "report.html")],
        "export": ["--checkpoint", str(seeds / "files" / "log.csv"), "--out", str(work / "x.onnx")],
        "role": [rng.choice(("reader", "writer", "x"))],
        "completion": [rng.choice(("bash", "zsh", "fish", "x"))],
    }
    name = rng.choice(RUN)
    arguments = [*name.split(), *given.get(name, [])]
    command = cli.get_command(click.Context(cli), arguments[0])
    flags = [option for each in (command.params if command else ()) for option in each.opts if option.startswith("-")]
    banned = {"--url", "--cloud-id", "--set-default", "--output-file"}
    for _ in range(rng.randint(0, 3)):
        flag = rng.choice([*(flag for flag in flags if flag not in banned), "--json", "--set"])
        arguments += [flag, _value(rng)] if rng.random() < 0.7 else [flag]
    return _as_given(arguments)


def _run(arguments: list[str]) -> None:
    out, error = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
            main(arguments)
    except SystemExit as ended:
        if ended.code:
            if not error.getvalue().strip():
                raise AssertionError(f"exit code {ended.code} without a sentence") from ended
            raise Refused(error.getvalue()[-300:]) from ended


def answers(rng: random.Random, seeds: Path, work: Path) -> None:
    """A server that answers half of all requests with something else: recommender, inspector, generations."""
    replies = _replies(seeds)
    node = type("Node", (Damaged,), {"replies": replies, "rng": rng})
    client = Elasticsearch("http://127.0.0.1:1", node_class=node, max_retries=0)
    server = Server.of(client)
    server.attempts, server.pause = 2, 0.0
    kind = rng.randrange(3)
    if kind == 0:
        with Recommender.from_elasticsearch(client, NAME, limits=LIMITS, fallback=rng.random() < 0.5) as recommender:
            recommender.recommend_many(["3", "4"], k=3, explain=rng.random() < 0.5, filter={"kind": ["a"]})
            recommender.recommend("3", k=3, pin=["1"], exclude_seen=True)
            recommender.warm()
    elif kind == 1:
        engine = ElasticsearchEngine(server, NAME)
        inspector = ElasticsearchInspector(engine)
        inspector.busiest(3)
        inspector.codes(["1"])
        inspector.dead(3)
        inspector.item_postings("1")
    else:
        generations(server, NAME)
        live_generation(server, NAME)
        read_meta(server, NAME)
        capabilities(server)


@functools.lru_cache(1)
def _replies(seeds: Path) -> Replies:
    return Replies(EmbeddedEngine(Artifact.open(seeds / "postings")))
