"""Where the command begins: an interrupt ends it alike while it is still being imported."""

from __future__ import annotations

import sys

INTERRUPTED = 130
"""128 + SIGINT, as shells say it."""


def main() -> None:
    """`sparcode_es_cli.main.main`."""
    try:
        from sparcode_es_cli.main import main as run
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(INTERRUPTED)
    run()
