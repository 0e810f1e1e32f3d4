"""`sparcode-es node`: a throw-away local Elasticsearch."""

from __future__ import annotations

import json
import re

import click
from sparcode_es_cli.options import json_option
from sparcode_es_cli.words import counted

from sparcode_es.engines.node.local import VERSIONS, LocalNode, NodeState, running_nodes
from sparcode_es.errors import NotFoundError


class Heap(click.ParamType):
    """A size as Java takes it: 512m, 2g."""

    name = "size"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The value itself, or a usage error."""
        if re.fullmatch(r"[1-9]\d*[mMgG]", value) is None:
            self.fail(f"{value!r} is no size of a heap; write 512m or 2g", param, ctx)
        return value


@click.group(
    epilog="\b\nExample:\n  sparcode-es node up --version 9.4.5 --port 9200\n  sparcode-es node down --port 9200"
)
def command() -> None:
    """Start and stop a throw-away local Elasticsearch.

    In Docker where an engine answers, else the real server fetched through Maven. It listens on this machine only, and
    `down` deletes its data.
    """


@command.command(epilog="\b\nExample:\n  sparcode-es node up --version 7.17.29 --port 9200")
@click.option(
    "--version", type=click.Choice(VERSIONS), default=VERSIONS[-1], show_default=True, help="Which Elasticsearch."
)
@click.option("--nodes", default=1, show_default=True, type=click.IntRange(1, 5), help="Processes in the cluster.")
@click.option("--port", type=click.IntRange(1, 65535), help="Where the first listens; a free port when left out.")
@click.option(
    "--heap",
    type=Heap(),
    default="1g",
    show_default=True,
    help="Java heap of each process, as 512m; ES_JAVA_OPTS is passed on.",
)
@json_option("Print JSON.")
def up(version: str, nodes: int, port: int | None, heap: str, as_json: bool) -> None:
    """Start a server and wait until it answers."""
    click.echo(f"starting Elasticsearch {version}; the first time it is fetched", err=True)
    node = LocalNode(version, nodes=nodes, port=port, heap=heap).start()
    if as_json:
        click.echo(json.dumps(_row(node.state)))
    else:
        click.echo(f"export ES_URL={node.url}")


@command.command(epilog="\b\nExample:\n  sparcode-es node status")
@json_option("Print JSON.")
def status(as_json: bool) -> None:
    """List the servers that were started and not taken down."""
    rows = [_row(state) for state in running_nodes()]
    if as_json:
        click.echo(json.dumps(rows))
        return
    for row in rows:
        nodes, state = counted(row["nodes"], "node"), "up" if row["running"] else "ended"
        click.echo(f"{row['url']}  {row['version']}  {nodes}  {state}")
    if not rows:
        click.echo("no local server; `sparcode-es node up` starts one", err=True)


@command.command(epilog="\b\nExample:\n  sparcode-es node down --port 9200\n  sparcode-es node down --all")
@click.option("--version", type=click.Choice(VERSIONS), help="Only servers of this Elasticsearch.")
@click.option("--port", type=int, help="Only the server that listens there.")
@click.option("--all", "every", is_flag=True, help="Every server of this account, or every one of --version.")
def down(version: str | None, port: int | None, every: bool) -> None:
    """End a server and delete its data: the only one, or the one that --port names.

    What servers that have ended left behind is cleared away too. A server whose process still runs, as in a test, is ended
    only by its --port or with --all.
    """
    chosen = [
        state
        for state in running_nodes()
        if (version is None or state.version == version) and (port is None or state.port == port)
    ]
    if not chosen and (version or port):
        raise NotFoundError("no such local server; `sparcode-es node status` lists them")
    if port is None and not every:
        chosen = [state for state in chosen if not state.is_attended()]
    running = [state for state in chosen if state.is_running()]
    for state in chosen:
        if state not in running:
            _end(state)
    if len(running) > 1 and not every:
        found = ", ".join(f"{state.url} ({state.version})" for state in running)
        raise click.UsageError(f"more than one server is up: {found}; name one with --port, or end them with --all")
    for state in running:
        _end(state)


def _end(state: NodeState) -> None:
    state.remove()
    click.echo(f"ended {state.url} ({state.version})", err=True)


def _row(state: NodeState) -> dict[str, object]:
    running = state.is_running()
    return {"url": state.url, "version": state.version, "nodes": state.nodes, "running": running, "pids": state.pids}
