"""A peak: users come until the middle of the test, and go again."""

from aiotest import AsyncHttpUser, LoadUserShape


class TestVisitor(AsyncHttpUser):
    host = "http://127.0.0.1:18080"
    wait_time = 0.2

    async def test_visit(self):
        async with self.session.get("/json") as resp:
            await resp.read()


class TestPeak(LoadUserShape):
    most = 8
    time_limit = 10

    def tick(self):
        run_time = self.get_run_time()
        if run_time > self.time_limit:
            return None
        part = 1 - abs(run_time / self.time_limit - 0.5) * 2
        return (max(1, round(self.most * part)), 10)
