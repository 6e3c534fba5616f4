"""Stepped load: two more users every two seconds, up to eight."""

from aiotest import AsyncHttpUser, LoadUserShape


class TestVisitor(AsyncHttpUser):
    host = "http://127.0.0.1:18080"
    wait_time = 0.2

    async def test_visit(self):
        async with self.session.get("/json") as resp:
            await resp.read()


class StepsTest(LoadUserShape):
    step_time = 2
    step_users = 2
    rate = 10
    most = 8
    time_limit = 10

    def tick(self):
        run_time = self.get_run_time()
        if run_time > self.time_limit:
            return None
        step = int(run_time // self.step_time) + 1
        return (min(step * self.step_users, self.most), self.rate)
