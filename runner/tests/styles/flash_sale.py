"""A flash sale: every user logs in and waits; once all of them are there, all buy at the same moment."""

import asyncio
import time

from aiotest import AsyncHttpUser, events, logger

opening = asyncio.Semaphore(0)


class TestBuyer(AsyncHttpUser):
    host = "http://127.0.0.1:18080"
    wait_time = 0

    async def on_start(self):
        async with self.session.post("/login", json={"user": "buyer"}) as resp:
            self.token = (await resp.json())["token"]
        logger.info(f"waits since {time.time():.3f}")
        await opening.acquire()

    async def test_buy(self):
        logger.info(f"buys at {time.time():.3f}")
        headers = {"Authorization": f"Bearer {self.token}"}
        async with self.session.post("/echo", json={"item": 1}, headers=headers, name="buy") as resp:
            assert resp.status == 200
        await asyncio.sleep(3600)  # once is enough


async def open_the_sale(user_count, runner):
    for _ in range(user_count):
        opening.release()


events.start_complete += open_the_sale
