"""Throw-away local Elasticsearch servers, for tests, demos and benchmarks; never for data that matters."""

from sparcode_es.engines.node.local import VERSIONS, LocalNode, running_nodes

__all__ = ["VERSIONS", "LocalNode", "running_nodes"]
