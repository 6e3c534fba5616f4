"""Another number of users every two seconds, by chance."""

import random

from aiotest import AsyncHttpUser, LoadUserShape


class TestVisitor(AsyncHttpUser):
    host = "http://127.0.0.1:18080"
    wait_time = 0.2

    async def test_visit(self):
        async with self.session.get("/json") as resp:
            await resp.read()


class RandomTest(LoadUserShape):
    least, most = 2, 6
    time_limit = 8
    users = None
    until = 0

    def tick(self):
        run_time = self.get_run_time()
        if run_time > self.time_limit:
            return None
        if self.users is None or run_time >= self.until:
            self.users = random.randint(self.least, self.most)
            self.until = run_time + 2
        return (self.users, 20)
