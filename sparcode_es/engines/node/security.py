"""Who may ask a throw-away server: users and roles from files, and a certificate."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROUNDS = 1000
"""Few: these users live as long as a test does."""


@dataclass(frozen=True)
class Account:
    """A user of the file realm."""

    password: str = field(repr=False)
    roles: tuple[str, ...] = ()


@dataclass(frozen=True)
class Security:
    """What a server is told of its users, beside the built-in `elastic`, and how it proves who it is."""

    users: Mapping[str, Account] = field(default_factory=dict)
    roles: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Role → its body, as in `PUT _security/role/…`."""
    certificate: Path | None = None
    """PEM; with `key`, the server speaks HTTPS."""
    key: Path | None = None

    @property
    def scheme(self) -> str:
        """http or https"""
        return "http" if self.certificate is None else "https"

    def settings(self) -> dict[str, str]:
        """What elasticsearch.yml says of it."""
        if self.certificate is None:
            return {}
        tls = "xpack.security.http.ssl"
        return {f"{tls}.enabled": "true", f"{tls}.certificate": "http.crt", f"{tls}.key": "http.key"}

    def files(self) -> dict[str, str]:
        """What lies beside elasticsearch.yml."""
        # One role a line: the server cuts the file into roles at lines that begin without a space.
        found = {"roles.yml": "".join(f"{name}: {json.dumps(body)}\n" for name, body in self.roles.items())}
        if self.users:
            found["users"] = "".join(f"{name}:{hashed(user.password)}\n" for name, user in self.users.items())
            members = {role: [name for name, user in self.users.items() if role in user.roles] for role in self.roles}
            found["users_roles"] = "".join(f"{role}:{','.join(names)}\n" for role, names in members.items() if names)
        if self.certificate is not None and self.key is not None:
            found["http.crt"] = self.certificate.read_text(encoding="ascii")
            found["http.key"] = self.key.read_text(encoding="ascii")
        return found


def hashed(password: str) -> str:
    """A password as the file realm keeps it: PBKDF2 with HMAC-SHA512."""
    salt = secrets.token_bytes(32)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, ROUNDS, dklen=32)
    return f"{{PBKDF2}}{ROUNDS}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"
