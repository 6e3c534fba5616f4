"""A spike: few users, four times as many for three seconds, few again."""

from aiotest import AsyncHttpUser, LoadUserShape


class TestVisitor(AsyncHttpUser):
    host = "http://127.0.0.1:18080"
    wait_time = 0.2

    async def test_visit(self):
        async with self.session.get("/json") as resp:
            await resp.read()


class TestSpike(LoadUserShape):
    stages = (
        {"until": 3, "users": 2},
        {"until": 6, "users": 8},
        {"until": 9, "users": 2},
    )

    def tick(self):
        run_time = self.get_run_time()
        for stage in self.stages:
            if run_time < stage["until"]:
                return (stage["users"], 100)
        return None
