"""Elasticsearch: the connection, what a server can do, the index and the engine."""
