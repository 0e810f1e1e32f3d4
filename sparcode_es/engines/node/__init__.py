"""Throw-away local Elasticsearch servers, for tests, demos and benchmarks; never for data that matters."""

from sparcode_es.engines.node.local import VERSIONS, LocalNode, running_nodes
from sparcode_es.engines.node.security import Account, Security

__all__ = ["VERSIONS", "Account", "LocalNode", "Security", "running_nodes"]
