"""What a command says when the install lacks an extra."""

from __future__ import annotations

from sparcode_es.errors import MissingExtraError


def need_training() -> None:
    """Raise `MissingExtraError` unless torch can be imported."""
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            "this needs torch, which this install lacks; install it with: pip install 'sparcode-es[train]'"
        ) from error
