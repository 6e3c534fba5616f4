"""A key-value server that speaks lines over TCP: a client of one's own, which reports each command itself."""

import asyncio
import random
import time

from aiotest import User, events, runners


class KeyValueClient:
    """One connection; a command is a line, and so is its answer: `+ value` or `- error`."""

    def __init__(self, address):
        self.host, self.port = address.split(":")
        self.writer = None

    async def connect(self):
        self.reader, self.writer = await asyncio.open_connection(self.host, int(self.port))

    async def command(self, word, *rest):
        start, answer, error = time.perf_counter(), b"", None
        try:
            self.writer.write(" ".join([word, *rest]).encode() + b"\n")
            answer = await asyncio.wait_for(self.reader.readline(), 5)
            if not answer.startswith(b"+"):
                raise ValueError(answer.decode().strip() or "closed")
        except (OSError, ValueError, TimeoutError) as exc:
            error = exc
        await events.stats_request.fire(
            runner=runners.global_runner,
            request_name=word,
            request_method="KV",
            response_time=(time.perf_counter() - start) * 1000,
            response_length=len(answer),
            error=error,
        )
        return answer[2:].decode().strip()

    async def close(self):
        if self.writer is not None:
            self.writer.close()
            await self.writer.wait_closed()


class TestKeyValue(User):
    host = "127.0.0.1:7000"
    wait_time = 0.05

    async def on_start(self):
        self.client = KeyValueClient(self.host)
        await self.client.connect()

    async def test_set_and_get(self):
        key, value = f"k{random.randint(1, 10**9)}", str(random.randint(1, 1000))
        await self.client.command("set", key, value)
        assert await self.client.command("get", key) == value

    async def test_unknown(self):
        await self.client.command("drop", "everything")

    async def on_stop(self):
        await self.client.close()
