"""Customers log in once and keep the token; then each request uses what the one before brought."""

import random

from aiotest import AsyncHttpUser, ClientTimeout, logger


class TestCustomer(AsyncHttpUser):
    host = "http://127.0.0.1:18080"
    wait_time = 0.1
    timeout = ClientTimeout(total=10)

    async def on_start(self):
        data = {"username": "aiotest", "password": "123456"}
        async with self.session.post(url="/login", json=data, timeout=self.timeout) as resp:
            result = await resp.json()
            self.token = result["token"]
        self.headers = {"Authorization": "Bearer " + self.token}
        logger.debug(f"logged in with {self.token}")

    async def test_profile(self):
        async with self.session.get("/profile", headers=self.headers) as resp:
            assert resp.status == 200, "status is not 200"
            result = await resp.json()
            assert self.token == f"token-{result['user']}", "another user's profile"

    async def test_buy(self):
        # Thousands of items, one row of the statistics.
        async with self.session.get(f"/item/{random.randint(1, 9999)}", name="/item/[n]") as resp:
            item = await resp.json()
        order = {"item": item["item"], "price": item["price"]}
        async with self.session.post("/echo", json=order, headers=self.headers, name="order") as resp:
            confirmed = await resp.json()
            assert confirmed["price"] == item["price"], "another price than shown"
        resp = await self.session.get(f"/item/{confirmed['item'] + 1}", name="/item/[n]")
        assert (await resp.json())["item"] == item["next"]

    async def on_stop(self):
        async with self.session.get("/", name="logout") as resp:
            await resp.text()
        await super().on_stop()
