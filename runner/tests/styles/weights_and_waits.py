"""Three kinds of users, each with its weight and its own way to wait; a fourth is switched off."""

import asyncio
import random

from aiotest import AsyncHttpUser, User


class Visitor(AsyncHttpUser):
    host = "http://127.0.0.1:18080"

    async def visit(self, name):
        async with self.session.get("/visit", name=name) as resp:
            await resp.read()


class TestReader(Visitor):
    weight = 3
    wait_time = (0.05, 0.15)

    async def on_start(self):
        await self.visit("reader is here")

    async def test_read(self):
        await self.visit("read")


class TestBuyer(Visitor):
    weight = 2

    @property
    def wait_time(self):
        return random.expovariate(10)

    async def on_start(self):
        await self.visit("buyer is here")

    async def test_look(self):
        await self.visit("look")

    async def test_pay(self):
        await asyncio.sleep(0.01)
        await self.visit("pay")


class AdminTest(Visitor):
    weight = 1
    pace = 0.2

    async def wait_time(self):
        """Every 0.2 s, however long the job took."""
        loop = asyncio.get_running_loop()
        self.due = getattr(self, "due", loop.time()) + self.pace
        return max(0.0, self.due - loop.time())

    async def on_start(self):
        await self.visit("admin is here")

    async def test_watch(self):
        await self.visit("watch")


class TestNobody(User):
    weight = 0

    async def test_nothing(self):
        raise RuntimeError("nobody runs this")
