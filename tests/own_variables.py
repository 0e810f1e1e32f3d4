"""The environment's variables that name a server or a setting of ours: tests that say all themselves do without them."""

from __future__ import annotations

import os

PREFIXES = ("ES_", "SPARCODE_", "KIBANA_")
KEPT = ("ES_JAVA_OPTS",)
"""How the tests' servers run (see conftest.py) is no setting of ours."""


def own_variables() -> list[str]:
    """Those that are set."""
    return [name for name in os.environ if name.startswith(PREFIXES) and name not in KEPT]
