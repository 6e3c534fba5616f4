"""Waves: from two users to eight and back, twice."""

import math

from aiotest import AsyncHttpUser, LoadUserShape


class TestVisitor(AsyncHttpUser):
    host = "http://127.0.0.1:18080"
    wait_time = 0.2

    async def test_visit(self):
        async with self.session.get("/json") as resp:
            await resp.read()


class TestWave(LoadUserShape):
    least, most = 2, 8
    period = 5
    time_limit = 11

    def tick(self):
        run_time = self.get_run_time()
        if run_time > self.time_limit:
            return None
        height = (1 - math.cos(2 * math.pi * run_time / self.period)) / 2
        return (round(self.least + (self.most - self.least) * height), 10)
