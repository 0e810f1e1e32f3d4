"""A certificate authority of the tests' own."""

from __future__ import annotations

import hashlib
import shutil
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Signed:
    """A certificate and its key, PEM."""

    certificate: Path
    key: Path

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate, hexadecimal."""
        pem = self.certificate.read_text(encoding="ascii")
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()


class Authority:
    """Signs certificates for this machine, in a folder."""

    def __init__(self, folder: Path) -> None:
        openssl = shutil.which("openssl")
        if openssl is None:
            pytest.skip("no openssl to make certificates with")
        self._openssl, self._folder = openssl, folder
        folder.mkdir(parents=True)
        self._run(
            "req", "-x509", *self._new("ca"), "-days", "30", "-subj", "/CN=an authority of the tests", "-out", "ca.pem"
        )
        self.certificate = folder / "ca.pem"

    def sign(self, name: str, *, valid: bool = True) -> Signed:
        """A certificate for localhost and 127.0.0.1; one that is not valid ended in 2020."""
        self._run("req", *self._new(name), "-subj", f"/CN={name}", "-out", f"{name}.csr")
        names = self._folder / "names"
        names.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n", encoding="ascii")
        (self._folder / "index").write_text("", encoding="ascii")
        settings = self._folder / "ca.conf"
        settings.write_text(CA, encoding="ascii")
        dates = [] if valid else ["-startdate", "20190101000000Z", "-enddate", "20200101000000Z"]
        signing = ["-config", "ca.conf", "-in", f"{name}.csr", "-out", f"{name}.pem", "-extfile", "names", "-notext"]
        self._run("ca", "-batch", *signing, "-days", "30", *dates)
        return Signed(self._folder / f"{name}.pem", self._folder / f"{name}.key")

    def _new(self, name: str) -> list[str]:
        return ["-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key"]

    def _run(self, *arguments: str) -> None:
        done = subprocess.run(
            [self._openssl, *arguments], cwd=self._folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


CA = """
[ca]
default_ca = this
[this]
database = index
new_certs_dir = .
certificate = ca.pem
private_key = ca.key
default_md = sha256
policy = any
unique_subject = no
rand_serial = yes
[any]
commonName = supplied
"""
