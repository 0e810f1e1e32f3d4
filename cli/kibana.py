"""`sparcode-es kibana`: data views, saved searches and a dashboard of an alias, as a file or straight into Kibana."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import sparcode_es_mappings
from sparcode_es_cli.connection import (
    connection_options,
    credentials_config,
    credentials_options,
    index_option,
    open_server,
)
from sparcode_es_cli.options import json_option

VERSIONS = sparcode_es_mappings.KIBANA_VERSIONS
out_option = click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="The file.  [default: standard output]"
)


@click.group(
    epilog="\b\nExample:\n  sparcode-es kibana export --index recs --out recs.ndjson\n"
    "  sparcode-es kibana import --index recs --kibana-url http://localhost:5601"
)
def command() -> None:
    """Write or install what shows an index in Kibana: data views, saved searches, the dashboards "SparCode index", "SparCode
    queries" and "SparCode why"; or write requests for its Dev Tools."""


@command.command(
    "export", epilog="\b\nExample:\n  sparcode-es kibana export --index recs --kibana-version 8 > recs.ndjson"
)
@out_option
@index_option("name")
@click.option(
    "--kibana-version",
    "version",
    type=click.Choice(VERSIONS),
    default=VERSIONS[-1],
    show_default=True,
    help="The Kibana that the file is for.",
)
@json_option("Print the report of --out as JSON.")
def export_objects(out: Path | None, name: str, version: str, as_json: bool) -> None:
    """Write an NDJSON file for Kibana's Stack Management → Saved Objects → Import. No server is asked."""
    if as_json and out is None:
        raise click.UsageError(
            "--json reports what was written: give --out; without it the objects themselves are printed"
        )
    from sparcode_es.files import atomic_write
    from sparcode_es.kibana.objects import ndjson, saved_objects

    objects = saved_objects(name, version)
    if out is None:
        click.echo(ndjson(objects), nl=False)
        return
    with atomic_write(out) as file:
        file.write(ndjson(objects))
    if as_json:
        click.echo(json.dumps({"objects": len(objects), "file": str(out)}))
    else:
        click.echo(f"{len(objects)} objects in {out}", err=True)


@command.command(
    epilog="\b\nExample:\n  sparcode-es kibana snippets --index recs --url http://localhost:9200 --user 123 > recs.console"
)
@click.option("--user", required=True, help="A user that the index knows.")
@click.option("--item", help="The item to explain.  [default: the first that is recommended]")
@click.option("--code", help="The code to look at.  [default: the user's heaviest]")
@out_option
@json_option("The requests as JSON: what, index and body of each.")
@index_option("name")
@connection_options
def snippets(
    user: str, item: str | None, code: str | None, out: Path | None, as_json: bool, name: str, **flags: Any
) -> None:
    """Write requests for Kibana's Dev Tools with a user's codes: a code's top items, recommend, explain, the latest questions."""
    from sparcode_es.engines.elasticsearch.engine import ElasticsearchEngine
    from sparcode_es.files import atomic_write
    from sparcode_es.kibana.snippets import snippets as made

    with open_server(flags) as server:
        found = made(ElasticsearchEngine(server, name), user, item, code)
    text = json.dumps([asdict(each) for each in found]) + "\n" if as_json else "\n".join(each.text() for each in found)
    if out is None:
        click.echo(text, nl=False)
        return
    with atomic_write(out) as file:
        file.write(text.encode())
    click.echo(f"{len(found)} requests in {out}", err=True)


@command.command(
    "import", epilog="\b\nExample:\n  sparcode-es kibana import --index recs --kibana-url http://localhost:5601"
)
@click.option(
    "--kibana-url",
    required=True,
    envvar="KIBANA_URL",
    help="Kibana, such as http://localhost:5601, or https://…/s/NAME for one of its spaces [KIBANA_URL].",
)
@index_option("name")
@click.option("--kibana-version", "version", type=click.Choice(VERSIONS), help="Its version.  [default: what it says]")
@json_option()
@credentials_options
def import_objects(kibana_url: str, name: str, version: str | None, as_json: bool, **flags: Any) -> None:
    """Put the objects into Kibana, over older ones of the same alias and over nothing else."""
    from sparcode_es.engines.elasticsearch.layout import check_name
    from sparcode_es.kibana.install import PORT, Kibana
    from sparcode_es.kibana.objects import saved_objects

    check_name(name)
    kibana = Kibana(credentials_config(flags, url=kibana_url, http_port=PORT))
    try:
        done = kibana.install(saved_objects(name, version or kibana.version()))
    finally:
        kibana.close()
    click.echo(json.dumps(asdict(done)) if as_json else f"{done.objects} objects\n{done.dashboard}")
