"""Certificates of a test's own, made by openssl: an authority, servers and a client that it vouches for."""

from __future__ import annotations

import functools
import hashlib
import ssl
import subprocess
import tempfile
from pathlib import Path

NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]


def openssl(folder: Path, *arguments: str) -> None:
    """It must succeed."""
    ended = subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


class Certificates:
    """`NAME.crt` and `NAME.key` in a folder: `authority`, `stranger`, `server`, `elsewhere`, `client`, and
    `alone`, which vouches for itself.
    """

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="certificates-")
        self.folder = Path(self._folder.name)
        for authority in ("authority", "stranger"):
            files = ["-keyout", f"{authority}.key", "-out", f"{authority}.crt"]
            subject = ["-subj", f"/CN={authority}", "-addext", "keyUsage=critical,keyCertSign,cRLSign"]
            openssl(self.folder, "req", "-x509", *NEW_KEY, *subject, *files)
        # Without them Python 3.13 accepts no certificate.
        (self.folder / "keys.cnf").write_text("authorityKeyIdentifier=keyid\nsubjectKeyIdentifier=hash\n")
        for name, host in (("server", "127.0.0.1"), ("elsewhere", "127.0.0.2"), ("client", "127.0.0.1")):
            subject = ["-subj", f"/CN={name}", "-addext", f"subjectAltName=IP:{host}"]
            openssl(self.folder, "req", *NEW_KEY, *subject, "-keyout", f"{name}.key", "-out", f"{name}.csr")
            signer = ["-CA", "authority.crt", "-CAkey", "authority.key", "-copy_extensions", "copy"]
            signer += ["-extfile", "keys.cnf"]
            openssl(self.folder, "x509", "-req", *signer, "-in", f"{name}.csr", "-out", f"{name}.crt")
        alone = ["-subj", "/CN=alone", "-addext", "subjectAltName=IP:127.0.0.1"]
        alone += ["-addext", "keyUsage=critical,digitalSignature,keyCertSign"]
        openssl(self.folder, "req", "-x509", *NEW_KEY, *alone, "-keyout", "alone.key", "-out", "alone.crt")
        encrypt = ["-aes256", "-passout", "pass:secret", "-out", "encrypted.key"]
        openssl(self.folder, "pkey", "-in", "client.key", *encrypt)
        encrypt = ["-aes128", "-passout", "pass:secret", "-out", "old.key"]
        openssl(self.folder, "pkey", "-traditional", "-in", "client.key", *encrypt)

    def path(self, name: str) -> str:
        """Of a file."""
        return str(self.folder / name)

    def server(self, name: str = "server", wants: str | None = None) -> ssl.SSLContext:
        """A server's context; `wants` client certificates of that authority."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.path(f"{name}.crt"), self.path(f"{name}.key"))
        if wants is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.path(f"{wants}.crt"))
        return context

    def client(self, trusts: str = "authority") -> ssl.SSLContext:
        """A client's context, as scenarios make it."""
        return ssl.create_default_context(cafile=self.path(f"{trusts}.crt"))

    def digest(self, name: str) -> bytes:
        """SHA-256 of a certificate."""
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(Path(self.path(name)).read_text())).digest()


@functools.cache
def certificates() -> Certificates:
    """The same for every test of the process."""
    return Certificates()
