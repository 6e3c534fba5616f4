"""Whole runs against a server that does everything wrong: every failure has its own label, the users live
on, report and server count the same, and the memory stays where it was.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hostile_server
import pytest
from hostile_server import BEHAVIOURS, TLS
from manifest_run import Running, running, until, write_manifest

AUTHORITY = """
[ca]
default_ca = authority
[authority]
database = database
serial = serial
new_certs_dir = .
default_md = sha256
policy = any
unique_subject = no
copy_extensions = copy
[any]
commonName = supplied
"""


def openssl(folder: Path, *arguments: str) -> None:
    """It must succeed."""
    ended = subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


def certificates(folder: Path) -> None:
    """An authority and the certificates of the TLS servers that have one."""
    (folder / "authority.cnf").write_text(AUTHORITY)
    (folder / "database").touch()
    (folder / "serial").write_text("01")
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    for authority in ("trusted", "stranger"):
        files = ["-keyout", f"{authority}.key", "-out", f"{authority}.crt"]
        openssl(folder, "req", "-x509", *new_key, "-subj", f"/CN={authority}", *files)
    for name, host, authority, end in (
        ("expired", "127.0.0.1", "trusted", "20200102000000Z"),
        ("unknown", "127.0.0.1", "stranger", "20490101000000Z"),
        ("other-host", "127.0.0.2", "trusted", "20490101000000Z"),
        ("old", "127.0.0.1", "trusted", "20490101000000Z"),
    ):
        extension = ["-addext", f"subjectAltName=IP:{host}"]
        files = ["-keyout", f"{name}.key", "-out", f"{name}.csr"]
        openssl(folder, "req", *new_key, "-subj", f"/CN={name}", *extension, *files)
        signer = ["-config", "authority.cnf", "-cert", f"{authority}.crt", "-keyfile", f"{authority}.key"]
        dates = ["-startdate", "20200101000000Z", "-enddate", end]
        openssl(folder, "ca", "-batch", *signer, *dates, "-in", f"{name}.csr", "-out", f"{name}.crt")


class Server:
    """The hostile server, as a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            # Old protocols are wanted here.
            [sys.executable, "-W", "ignore::DeprecationWarning", hostile_server.__file__, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        told: dict[str, Any] = json.loads(self.process.stdout.readline())
        self.url = f"http://127.0.0.1:{told['http']}"
        self.tls: dict[str, int] = told["tls"]
        self.blackhole = f"http://127.0.0.1:{told['blackhole']}/"

    def counts(self) -> dict[str, int]:
        """The requests that it has read, by path; it is over with that."""
        counts: dict[str, int] = json.loads(self.process.communicate(timeout=30)[0])
        return counts


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """A server that ends with the block."""
    server = Server(folder)
    try:
        yield server
    finally:
        server.process.kill()
        server.process.wait()


SCRIPT = """
from aiotest import AsyncHttpUser
from aiotest.exception import ClientConnectorCertificateError

class TestVictim(AsyncHttpUser):
    wait_time = 0
"""
JOB = """
    async def test_{number}(self):
        async with self.session.get({url!r}, name={name!r}, timeout={timeout}) as reply:
            await reply.read()
"""
CERTIFICATE_JOB = """
    async def test_{number}(self):
        try:
            await self.session.get({url!r}, name={name!r}, timeout={timeout})
        except ClientConnectorCertificateError as error:
            if {label!r} in str(error):
                return
        raise RuntimeError("this ends the user")
"""


LABELS = {name: label for name, (_, label) in BEHAVIOURS.items()} | TLS
LABELS |= {"blackhole": "timeout: total time over", "refused": "connection refused"}


def script(calls: dict[str, str]) -> str:
    """An aiotestfile with a job for each name and URL. Only who is to run out of time has little of it."""
    jobs = [
        (CERTIFICATE_JOB if TLS.get(name, "").startswith("TLS: certificate") else JOB).format(
            number=number,
            url=url,
            name=name,
            label=LABELS[name],
            timeout=0.2 if (LABELS[name] or "").startswith("timeout") else 20,
        )
        for number, (name, url) in enumerate(calls.items())
    ]
    return SCRIPT + "".join(jobs)


def memory(pid: int, key: str) -> int:
    """A figure of a process' memory, in KiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1])
    raise AssertionError(f"/proc/{pid}/status has no {key}")


def refused(run: Running) -> float:
    """How often the last one of a user's jobs has been done, over all users."""
    return run.metric("aiotest_response_failure_total", 'name="refused"')


def watched(run: Running, key: str, enough: Callable[[], bool]) -> list[int]:
    """The runner's memory, again and again until that is enough, or the runner has gone."""
    seen: list[int] = []

    def gone() -> bool:
        try:
            seen.append(memory(runner, key))
        except (OSError, AssertionError):
            return True
        time.sleep(0.2)
        return run.process.poll() is not None or enough()

    until("the runner is there", lambda: "runner-0" in run.children(), within=60)
    runner = run.children()["runner-0"]
    until("the runner has done enough", gone, within=120)
    return seen


def test_every_hostile_behaviour_has_its_label_and_costs_no_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificates(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "trusted.crt"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "none"))
    with serving(tmp_path) as server:
        calls = {path: path for path in BEHAVIOURS}
        calls |= {name: f"https://127.0.0.1:{port}/" for name, port in server.tls.items()}
        # Nobody listens on the first port of any machine.
        calls |= {"blackhole": server.blackhole, "refused": "http://127.0.0.1:1/"}
        load = {"constant": {"users": 5, "spawnRate": 50, "duration": "300s"}}
        manifest = write_manifest(tmp_path, script(calls), host=server.url, load=load, runners=1)
        with running(tmp_path, manifest) as run:
            seen = watched(run, "VmRSS", enough=lambda: refused(run) >= 50)
            run.interrupt()
            report = run.ended().told
        counts = server.counts()

    rows = {row["name"]: row for row in report["requests"]}
    assert rows.keys() == LABELS.keys()
    found: dict[str, set[str]] = {name: set() for name in rows}
    for error in report["errors"]:
        found[error["name"]].add(error["error"])
    assert found == {name: {label} - {None} for name, label in LABELS.items()}
    for name, row in rows.items():
        assert row["requests"] >= 5, (name, row)
        assert row["failures"] == (row["requests"] if LABELS[name] else 0), (name, row)
        # One that lay unread in the server's kernel when it closed has been sent, and was tried again.
        assert 0 <= row["sent"] - counts.get(name, 0) <= row["retried"], (name, row, counts.get(name))
    assert report["user_errors"] == []
    middle, end = (statistics.median(part) for part in (seen[len(seen) // 3 : len(seen) // 2], seen[-20:]))
    assert end - middle < 8 * 1024, f"from {middle} to {end} KiB"


def test_a_body_without_end_is_bounded_in_memory_and_said_to_be(tmp_path: Path) -> None:
    source = """
        from aiotest import AsyncHttpUser

        class TestVictim(AsyncHttpUser):
            wait_time = 0.1

            async def test_whole(self):
                async with self.session.get("/endless", name="whole") as reply:
                    await reply.read()

            async def test_line(self):
                async with self.session.get("/endless", name="line") as reply:
                    await reply.content.readline()

            async def test_left(self):
                async with self.session.get("/endless", name="left"):
                    pass

            async def test_in_pieces(self):
                async with self.session.get("/endless", name="pieces") as reply:
                    async for piece in reply.content.iter_chunked(65536):
                        self.taken = getattr(self, "taken", 0) + len(piece)
                        if self.taken > 200_000_000:
                            self.taken = 0
                            break
    """
    certificates(tmp_path)
    with serving(tmp_path) as server:
        load = {"constant": {"users": 2, "spawnRate": 50, "duration": "8s"}}
        manifest = write_manifest(tmp_path, source, host=server.url, load=load, runners=1)
        with running(tmp_path, manifest) as run:
            seen = watched(run, "VmHWM", enough=lambda: False)
            ended = run.ended()
            report = ended.told
        counts = server.counts()
    errors = {(error["name"], error["error"]) for error in report["errors"]}
    assert errors == {
        ("whole", "reply body too long"),
        ("line", "a line of the body is longer than 1048576 bytes"),
    }
    rows = {row["name"]: row for row in report["requests"]}
    assert rows["left"]["failures"] == rows["pieces"]["failures"] == 0
    assert rows["left"]["truncated"] == rows["left"]["requests"] > 0
    assert sum(row["sent"] for row in rows.values()) == counts["/endless"]
    # Two users, who have 64 MiB each, and a moment in which it grows.
    assert max(seen) < 450 * 1024, f"{max(seen)} KiB"
