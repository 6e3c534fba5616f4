"""The server that is loaded: examples/target, on a core of its own, over TLS where a work asks for it."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from cases import Work
from install import HOUSE

PROGRAM = HOUSE / ".cache/bin/aiotest-example-target"
FOLDER = HOUSE / ".cache/bench"
CERTIFICATE, KEY = FOLDER / "certificate.pem", FOLDER / "key.pem"


@dataclass(frozen=True)
class Counts:
    """What the target has received so far; `returning` requests have brought its cookie back."""

    requests: int = 0
    returning: int = 0
    connections: int = 0
    full: int = 0
    resumed: int = 0

    def since(self, earlier: Counts) -> Counts:
        """What came after `earlier`."""
        return Counts(*(getattr(self, name) - getattr(earlier, name) for name in vars(self)))


class Target:
    """A running target."""

    def __init__(self, process: subprocess.Popen[str], addresses: dict[str, str], work: Work) -> None:
        """Take a started process and the addresses that it printed."""
        self.pid = process.pid
        port = addresses["target"].rpartition(":")[2]
        # By its name, because aiohttp's cookie jar drops the cookies of addresses; a new connection for each
        # call goes to the address, so that no resolver is measured.
        self.url = f"http://localhost:{port}" if work.tls == "none" else f"https://127.0.0.1:{port}"
        self.control = f"http://{addresses['control']}"

    def counts(self) -> Counts:
        """What has been received so far."""
        with urllib.request.urlopen(f"{self.control}/count", timeout=10) as reply:
            told: dict[str, Any] = json.load(reply)
        shakes = told["handshakes"]
        return Counts(
            requests=told["total"],
            returning=told["returning"],
            connections=told["connections"]["accepted"],
            full=shakes.get("full", 0),
            resumed=shakes.get("resumed", 0),
        )


@contextmanager
def target(work: Work, core: int) -> Iterator[Target]:
    """Start the target that `work` loads, pinned to `core`; it ends with the block."""
    command = ["taskset", "-c", str(core), str(PROGRAM), "--port=0", "--control-port=0", "--while-stdin"]
    if work.tls != "none":
        make_certificate()
        command += ["--certificate", str(CERTIFICATE), "--key", str(KEY)]
    if work.tls == "full":
        command.append("--no-resumption")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield Target(process, json.loads(process.stdout.readline()), work)


def environment(work: Work) -> dict[str, str]:
    """What makes a generator trust the target: Go and rustls both take their authorities from this file."""
    return {} if work.tls == "none" else {"SSL_CERT_FILE": str(CERTIFICATE)}


def make_certificate() -> None:
    """A certificate for loopback that vouches for itself, with a key on P-256; made once."""
    if CERTIFICATE.exists() and KEY.exists():
        return
    FOLDER.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-days", "3650", "-subj", "/CN=localhost", "-keyout", str(KEY), "-out", str(CERTIFICATE)),
            *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
            *("-addext", "basicConstraints=critical,CA:FALSE"),
        ],
        check=True,
        capture_output=True,
    )
