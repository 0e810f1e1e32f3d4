"""Where local servers live on disk, and who runs them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from sparcode_es.files import storage_errors


def server_user() -> str | None:
    """The user that a server is started as: Elasticsearch refuses root, so root starts it as `nobody`."""
    return "nobody" if hasattr(os, "geteuid") and os.geteuid() == 0 else None


def cache_folder() -> Path:
    """The folder of unpacked servers and of running nodes, made when missing.

    `nobody` cannot read root's home folder, so for root it is a world-readable folder of its own.
    """
    if server_user():
        folder = Path(f"/var/tmp/sparcode-es-{os.geteuid()}")
    else:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sparcode-es" / "servers"
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if server_user():
            folder.chmod(0o755)
    return folder


def own(folder: Path) -> None:
    """Give a folder and all that is in it to the server's user."""
    user = server_user()
    if user is None:
        return
    for path in (folder, *folder.rglob("*")):
        shutil.chown(path, user)
