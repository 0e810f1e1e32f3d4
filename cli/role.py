"""`sparcode-es role`: what Elasticsearch must allow those who ask an alias, and those who load it."""

from __future__ import annotations

import json

import click
import sparcode_es_mappings
from sparcode_es_cli.connection import index_option


@click.command(
    epilog="\b\nExample:\n  sparcode-es role reader --index recs > reader.json\n"
    "  curl -u elastic -X PUT https://localhost:9200/_security/role/recs-reader \\\n"
    "    -H 'content-type: application/json' -d @reader.json"
)
@click.argument("kind", type=click.Choice(sparcode_es_mappings.ROLES))
@index_option("name")
def command(kind: str, name: str) -> None:
    """Print the body of a role: a reader asks the alias, a writer loads and swaps its generations too, a logger appends to
    its query log and reads nothing; none reaches others. It is JSON, as Elasticsearch takes it."""
    from sparcode_es.engines.elasticsearch.layout import check_name

    click.echo(json.dumps(sparcode_es_mappings.role(kind, check_name(name)), indent=2))
