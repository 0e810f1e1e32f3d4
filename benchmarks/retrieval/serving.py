"""An install with what serving needs and no more, in which whole processes are timed: the benchmarks' own packages would be
imported where they can be, aiohttp and httpx by the Elasticsearch client alone."""

from __future__ import annotations

import functools
import subprocess
import tempfile
import venv
from pathlib import Path

import click

FOLDER = Path(tempfile.gettempdir()) / "sparcode-es-serving"
ROOT = Path(__file__).resolve().parents[2]


@functools.cache
def serving_command() -> Path:
    """The `sparcode-es` of this checkout in an environment without extras, made anew once a process."""
    click.echo(f"installing sparcode-es without extras into {FOLDER}", err=True)
    venv.create(FOLDER, with_pip=True, clear=True)
    pip = [str(FOLDER / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run([*pip, "--editable", str(ROOT)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = " ".join(done.stderr.strip().splitlines()[-1:])
        raise click.ClickException(f"sparcode-es cannot be installed into {FOLDER}: {said}")
    return FOLDER / "bin" / "sparcode-es"
