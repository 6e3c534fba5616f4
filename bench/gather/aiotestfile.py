"""A user that makes five calls at a time, each on a connection of its own."""

import asyncio

from aiotest import AsyncHttpUser


class TestVisitor(AsyncHttpUser):
    """Asks again as soon as all five replies are checked."""

    wait_time = 0

    async def start(self) -> None:
        """Five of the job at once, for ever."""
        (visit,) = self.jobs
        await self.on_start()
        while True:
            await asyncio.gather(*(visit(self) for _ in range(5)))

    async def test_visit(self) -> None:
        """One request."""
        async with self.session.get("/visit") as reply:
            body = await reply.json()
            assert body["request"] > 0
