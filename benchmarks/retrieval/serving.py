"""An install with what serving needs and no more, in which whole processes are timed: the benchmarks' own packages would be
imported where they can be, aiohttp and httpx by the Elasticsearch client alone."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import click
from speed import new_environment

FOLDER = Path(tempfile.gettempdir()) / "sparcode-es-serving"
ROOT = Path(__file__).resolve().parents[2]


@functools.cache
def serving_command() -> Path:
    """The `sparcode-es` of this checkout in an environment without extras, made anew once a process."""
    click.echo(f"installing sparcode-es without extras into {FOLDER}", err=True)
    return new_environment(FOLDER, "--editable", str(ROOT), clear=True) / "sparcode-es"
