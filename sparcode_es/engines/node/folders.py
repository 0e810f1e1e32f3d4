"""Where local servers live on disk, and who runs them."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

from sparcode_es.errors import StorageError
from sparcode_es.files import storage_errors

SHARED = Path("/var/tmp")
"""Where a folder that `nobody` can read may lie; everybody writes there."""


def server_user() -> str | None:
    """The user that a server is started as: Elasticsearch refuses root, so root starts it as `nobody`."""
    return "nobody" if hasattr(os, "geteuid") and os.geteuid() == 0 else None


def cache_folder() -> Path:
    """The folder of unpacked servers and of running nodes, made when missing.

    `nobody` cannot read root's home folder, so for root it is a world-readable folder of its own. Raises `StorageError`.
    """
    if server_user():
        folder = SHARED / f"sparcode-es-{os.geteuid()}"
    else:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sparcode-es" / "servers"
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if server_user():
            _require_own(folder)
            folder.chmod(0o755)
    return folder


def _require_own(folder: Path) -> None:
    """Raise `StorageError` for a folder that another user may have made, and filled with servers and states of their own."""
    found = folder.lstat()
    if stat.S_ISLNK(found.st_mode):
        raise StorageError(f"{folder} is a link, and may lead to another user's folder; remove it.")
    if found.st_uid != os.geteuid():
        raise StorageError(f"{folder} belongs to the user {found.st_uid}, not {os.geteuid()}; remove it.")


def own(folder: Path) -> None:
    """Give a folder and all that is in it to the server's user."""
    user = server_user()
    if user is None:
        return
    for path in (folder, *folder.rglob("*")):
        shutil.chown(path, user)
