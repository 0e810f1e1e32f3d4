"""What a command says when the install lacks an extra."""

from __future__ import annotations

import importlib

from sparcode_es.errors import MissingExtraError


def need_training() -> None:
    """Raise `MissingExtraError` unless torch can be imported."""
    _need("torch", "scipy")


def need_tables() -> None:
    """Raise `MissingExtraError` unless pandas and pyarrow can be imported."""
    _need("pandas", "pyarrow")


def _need(*packages: str) -> None:
    for package in packages:
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise MissingExtraError(
                f"this needs {package}, which this install lacks; install it with: pip install 'sparcode-es[train]'"
            ) from error
