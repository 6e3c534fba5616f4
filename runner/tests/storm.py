"""Users whose tasks are cancelled at random moments, a process of its own: `python storm.py URL COUNT SEED`.

Each user makes one call after the other, of every kind that `raw_target` knows, on connections that it
keeps or that are new; its task is cancelled within a few milliseconds, and begins again, until there have
been COUNT cancellations. Prints what the engine counted, as a line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from contextlib import suppress

from aiotest import _native
from aiotest.client import ClientSession

USERS = 32
LARGE = bytes(1_000_000)
PATHS = ["/ok", "/ok", "/ok", "/hang", "/half", "/moved", "/bye", "/shut", "/mute", "/fin", "/rst"]


class Storm:
    """Cancellations so far, and what chooses them."""

    def __init__(self, url: str, left: int, seed: int) -> None:
        self.url, self.left = url, left
        self.random = random.Random(seed)

    async def user(self) -> None:
        """One user after the other, each with a session of its own."""
        while self.left:
            async with ClientSession(base_url=self.url) as session:
                for _ in range(self.random.randrange(1, 30)):
                    if not self.left:
                        break
                    await self.life(session)

    async def life(self, session: ClientSession) -> None:
        """A task until its cancellation."""
        task = asyncio.create_task(self.calls(session))
        await asyncio.sleep(self.random.expovariate(1 / self.random.choice([0.002, 0.02])))
        self.left -= self.left > 0
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    async def calls(self, session: ClientSession) -> None:
        """Calls until the cancellation, which may come in any of them or between two."""
        while True:
            with suppress(Exception):
                await self.call(session)
            await asyncio.sleep(self.random.choice([0, 0, 0.001]))

    async def call(self, session: ClientSession) -> None:
        """One call, of some kind."""
        path = self.random.choice(PATHS)
        match self.random.randrange(10):
            case 0:
                async with session.post(path, data=LARGE):
                    pass
            case 1:
                # By name, so that it is looked up, on a connection of its own.
                url = self.url.replace("127.0.0.1", "localhost") if "https" not in self.url else ""
                async with session.get(url + path) as reply:
                    await reply.read()
            case 2:
                reply = await session.get(path)
                await reply.read()
            case 3:
                async with session.get(path, timeout=self.random.uniform(0, 0.003)):
                    pass
            case _:
                async with session.get(path) as reply:
                    await reply.read()


async def main(url: str, count: int, seed: int) -> None:
    """The storm, then what was counted."""
    storm = Storm(url, count, seed)
    await asyncio.gather(*(storm.user() for _ in range(USERS)))
    rows = json.loads(_native.take_statistics_json()).get("rows", [])
    columns = ["sent", "requests", "failures", "retried", "aborted"]
    print(json.dumps({column: sum(row[column] for row in rows) for column in columns}))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
