"""The cluster's certificates and kubeconfigs, by openssl: good for a month, thrown away with the cluster."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from e2e.cluster import layout
from e2e.cluster.shell import run

NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30"]


def authority() -> None:
    """The certificate authority, and the key that signs the tokens of service accounts."""
    layout.CERTIFICATES.mkdir(parents=True, exist_ok=True)
    layout.CERTIFICATES.chmod(0o700)
    files = ["-keyout", str(key("ca")), "-out", str(certificate("ca"))]
    subject = ["-subj", "/CN=aiotest-cluster", "-addext", "keyUsage=critical,keyCertSign,cRLSign"]
    run("openssl", "req", "-x509", *NEW_KEY, *subject, *files)
    run("openssl", "genrsa", "-out", key("service-accounts"), "2048")


def serving(name: str, addresses: list[str], names: list[str]) -> None:
    """A certificate to serve by, with these addresses and DNS names."""
    alternatives = ",".join([*(f"IP:{address}" for address in addresses), *(f"DNS:{one}" for one in names)])
    _issue(name, f"/CN={name}", f"subjectAltName={alternatives}")


def client(name: str, user: str, group: str = "") -> None:
    """A certificate that proves a user, who may be in a group."""
    _issue(name, (f"/O={group}" if group else "") + f"/CN={user}", "extendedKeyUsage=clientAuth")


def certificate(name: str) -> Path:
    """Where a certificate lies."""
    return layout.CERTIFICATES / f"{name}.crt"


def key(name: str) -> Path:
    """Where a key lies."""
    return layout.CERTIFICATES / f"{name}.key"


def kubeconfig(name: str) -> Path:
    """Write the kubeconfig of a client, everything in one file, and say where."""
    layout.KUBECONFIGS.mkdir(parents=True, exist_ok=True)
    path = layout.KUBECONFIGS / name
    # JSON is YAML, too.
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "aiotest",
        "contexts": [{"name": "aiotest", "context": {"cluster": "aiotest", "user": name}}],
        "clusters": [
            {
                "name": "aiotest",
                "cluster": {
                    "server": layout.API_SERVER,
                    "certificate-authority-data": _base64(certificate("ca")),
                },
            }
        ],
        "users": [
            {
                "name": name,
                "user": {
                    "client-certificate-data": _base64(certificate(name)),
                    "client-key-data": _base64(key(name)),
                },
            }
        ],
    }
    path.touch(mode=0o600)
    path.write_text(json.dumps(config, indent=1))
    return path


def _issue(name: str, subject: str, extension: str) -> None:
    signer = ["-CA", str(certificate("ca")), "-CAkey", str(key("ca"))]
    extensions = ["-addext", extension, "-addext", "basicConstraints=critical,CA:FALSE"]
    files = ["-keyout", str(key(name)), "-out", str(certificate(name))]
    run("openssl", "req", "-x509", *NEW_KEY, *signer, "-subj", subject, *extensions, *files)


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
