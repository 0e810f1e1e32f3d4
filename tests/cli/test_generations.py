"""`generations` and `role`: on a real server what is live, gone back to and cleared away; roles without one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sparcode_es_cli.main import cli

from serving.small_world import build
from sparcode_es.engines.elasticsearch.connection import ConnectionConfig, Server
from sparcode_es.engines.elasticsearch.index import IndexOptions, index
from sparcode_es.engines.node import LocalNode
from sparcode_es.errors import ConfigError, NotFoundError


def run(*arguments: str) -> Any:
    return CliRunner().invoke(cli, arguments, catch_exceptions=True)


@pytest.mark.slow
@pytest.mark.elasticsearch
def test_list_rollback_prune(elasticsearch_7: LocalNode, tmp_path: Path) -> None:
    server = Server(ConnectionConfig(url=elasticsearch_7.url))
    artifact = build(tmp_path / "postings")
    names = [
        index(server, artifact, IndexOptions("gens", keep=9, compact=False), lambda what, more, total: None).generation
        for _ in range(4)
    ]
    here = ["--url", elasticsearch_7.url, "--index", "gens"]

    def listed() -> dict[str, str]:
        rows = json.loads(run("generations", "list", *here, "--json").stdout)
        return {row["generation"]: f"{row['state']}{'*' if row['live'] else ''}" for row in rows}

    assert listed() == {**dict.fromkeys(names[:3], "ready"), names[3]: "ready*"}
    assert json.loads(run("generations", "rollback", *here, "--json").stdout) == {"generation": names[2]}
    assert run("generations", "rollback", *here, "--to", names[0]).stdout == f"generation  {names[0]}\n"
    assert listed() == {names[0]: "ready*", **dict.fromkeys(names[1:], "withdrawn")}
    for wrong in (names[3], "gens-nothing"):
        error = run("generations", "rollback", *here, "--to", wrong).exception
        assert isinstance(error, NotFoundError)
    removed = json.loads(run("generations", "prune", *here, "--keep", "1", "--json").stdout)["removed"]
    assert {name for name in removed if name in names} == set(names[1:])
    assert listed() == {names[0]: "ready*"}
    assert run("generations", "prune", *here).stdout == "nothing to remove\n"
    assert run("generations", "list", *here).stdout == f"{names[0]}  {artifact.generation_hash}  ready  live\n"
    for command in ("list", "prune"):
        error = run("generations", command, "--url", elasticsearch_7.url, "--index", "gents").exception
        assert isinstance(error, NotFoundError)
        assert "has no generation of gents" in str(error)
    server.close()


def test_roles_are_printed() -> None:
    body = json.loads(run("role", "reader", "--index", "shop.recs").stdout)
    assert body["cluster"] == []
    assert body["indices"][0]["names"][0].startswith("/shop\\.recs(")
    assert "manage" in json.loads(run("role", "writer").stdout)["indices"][0]["privileges"]
    assert isinstance(run("role", "reader", "--index", "UPPER").exception, ConfigError)
    assert run("role", "admin").exit_code == 2
