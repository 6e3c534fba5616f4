"""Other systems than HTTP: each example against the real server, counted by both, and what fails there."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import systems
from command_line import run, write
from example_target import HOUSE

EXAMPLES = HOUSE / "examples"


def passes(example: str, host: str, folder: Path) -> dict[str, dict[str, Any]]:
    """The rows, by name, of an example's report, whose host is replaced by this. It passes."""
    copy = folder / example
    shutil.copytree(EXAMPLES / example, copy)
    manifest = copy / "loadtest.yaml"
    lines = manifest.read_text().splitlines(keepends=True)
    manifest.write_text(
        "".join(f"  host: {host}\n" if line.startswith("  host:") else line for line in lines)
    )
    report_file = folder / "report.json"
    code, output = run(
        "run", copy, "--report-json", report_file, "--metrics-address", "127.0.0.1:0", cwd=folder
    )
    assert code == 0, output
    report = json.loads(report_file.read_text())
    assert report["verdict"]["result"] == "Passed"
    assert (report["total"]["failures"], report["user_errors"], report["users"]["peak"]) == (0, [], 10)
    return {row["name"]: row for row in report["requests"]}


def fails(source: str, host: str, folder: Path) -> str:
    """What two users of this file print; the run fails by failures alone, and nobody dies."""
    file = write(folder, source)
    code, output = run("-f", file, "-H", host, "-u", 2, "-r", 10, "-t", 2, "--prometheus-port", 0, cwd=folder)
    assert code == 1, output
    assert "died" not in output, output
    return output


def calls(row: dict[str, Any]) -> int:
    """Finished and cut ones."""
    return int(row["requests"] + row["aborted"])


@pytest.mark.timeout(120)
def test_postgresql(tmp_path: Path) -> None:
    with systems.postgres() as server:
        server.ask("CREATE TABLE deposits (amount int)")
        rows = passes("postgresql", server.host, tmp_path)
        assert rows["deposit"]["requests"] == int(server.ask("SELECT count(*) FROM deposits")) > 100
        assert rows["connect"]["requests"] == 10
        assert rows["balance"]["latency_ms"]["p50"] > 0.05
        source = """
            import asyncpg
            from aiotest import User, measure

            class TestTeller(User):
                wait_time = 0.05

                async def on_start(self):
                    self.database = await asyncpg.connect(self.host)

                async def test_bad(self):
                    async with measure("bad", method="SQL"):
                        await self.database.fetch("SELECT nothing FROM nowhere")

                async def test_good(self):
                    async with measure("good", method="SQL"):
                        await self.database.execute("INSERT INTO deposits VALUES (1)")
        """
        output = fails(source, server.host, tmp_path)
        assert 'relation "nowhere" does not exist' in output
        assert int(server.ask("SELECT count(*) FROM deposits WHERE amount = 1")) > 4, "its users went on"


@pytest.mark.timeout(120)
def test_redis(tmp_path: Path) -> None:
    with systems.redis() as server:
        rows = passes("redis", server.host, tmp_path)
        assert rows["add"]["requests"] == server.calls()["rpush"] > 100
        assert rows["look"]["requests"] == server.calls()["lrange"]
        assert rows["look"]["bytes_received"] > 5 * rows["look"]["requests"]
        source = """
            from aiotest import User, measure
            from redis.asyncio import Redis

            class TestShopper(User):
                wait_time = 0.05

                async def on_start(self):
                    self.redis = Redis.from_url(self.host)

                async def test_bad(self):
                    async with measure("bad", method="INCR"):
                        await self.redis.incr("cart")
        """
        output = fails(source, server.host, tmp_path)
        assert "WRONGTYPE" in output
        assert server.calls()["incrby!"] > 4


@pytest.mark.timeout(120)
def test_grpc(tmp_path: Path) -> None:
    shop = systems.Shop()
    with systems.in_thread(shop.serve) as host:
        rows = passes("grpc", host, tmp_path)
        for name in ("/shop.Shop/Price", "/shop.Shop/Items"):
            assert rows[name]["requests"] == shop.counts[name] > 50
        assert rows["/shop.Shop/Items"]["bytes_received"] == 50 * rows["/shop.Shop/Items"]["requests"]
        source = """
            import grpc
            from aiotest import User, measure

            class TestCustomer(User):
                wait_time = 0.05

                async def on_start(self):
                    self.channel = grpc.aio.insecure_channel(self.host)

                async def test_bad(self):
                    async with measure("bad", method="gRPC"):
                        await self.channel.unary_unary("/shop.Shop/Price")(b"pear")
        """
        assert "no such fruit" in fails(source, host, tmp_path)


@pytest.mark.timeout(120)
def test_websocket(tmp_path: Path) -> None:
    heard: Counter[str] = Counter()
    with systems.websockets(heard) as url:
        rows = passes("websocket", url, tmp_path)
        assert rows["/echo"]["requests"] == rows["/echo"]["sent"] == 10
        assert rows["/echo"]["status"] == {"101": 10}
        assert calls(rows["talk"]) == heard["hello"] > 100


@pytest.mark.timeout(120)
def test_tcp(tmp_path: Path) -> None:
    with systems.lines() as server:
        rows = passes("tcp", server.host, tmp_path)
        assert calls(rows["ask"]) == server.counts[b"ping\n"] > 100
        source = """
            import asyncio
            from aiotest import User, measure

            class TestClient(User):
                wait_time = 0.05

                async def test_bad(self):
                    host, _, port = self.host.rpartition(":")
                    async with measure("bad", method="TCP"):
                        reader, writer = await asyncio.open_connection(host, int(port))
                        writer.write(b"what\\n")
                        answer = await reader.readline()
                        writer.close()
                        assert answer, "closed"
        """
        assert "closed" in fails(source, server.host, tmp_path)
        assert server.counts[b"what\n"] > 4


@pytest.mark.timeout(120)
def test_mqtt(tmp_path: Path) -> None:
    with systems.mosquitto() as port:
        subscriber = systems.Subscriber(port)
        with systems.in_thread(subscriber.serve) as host:
            rows = passes("mqtt", host, tmp_path)
            assert rows["connect"]["requests"] == 10
            assert calls(rows["publish"]) == subscriber.count > 100
    source = """
        from aiomqtt import Client
        from aiotest import User, measure

        class TestSensor(User):
            wait_time = 0.05

            async def test_bad(self):
                host, _, port = self.host.rpartition(":")
                async with measure("bad", method="MQTT"):
                    async with Client(host, int(port)):
                        pass
    """
    assert "refused" in fails(source, host, tmp_path).lower()
