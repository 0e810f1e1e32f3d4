"""Processes of this machine, by their number."""

from __future__ import annotations

import os


def runs_here(pid: int) -> bool:
    """Whether a process of this number runs, in this account or another."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
