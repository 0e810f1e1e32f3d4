"""sparcode-es: recommendation retrieval on Elasticsearch with learned sparse codes (SparCode, SIGIR '23)."""

__version__ = "0.1.0"
