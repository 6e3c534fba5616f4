"""The same user for Aiotest 1.x. Its users share their connections, so that a count rises, but not by one."""

import os

from aiotest import HttpUser, LoadUserShape


class Visitor(HttpUser):
    """Asks again as soon as the reply is checked."""

    host = os.environ["BENCH_URL"]
    wait_time = 0

    async def test_visit(self) -> None:
        """One request."""
        async with self.client.get("/visit") as reply:
            body = await reply.json()
            assert body["request"] > 0


class Shape(LoadUserShape):
    """All users at once, until it is ended from outside."""

    def tick(self) -> tuple[int, float] | None:
        """How many users there should be, and how many are started each second."""
        users = int(os.environ["BENCH_USERS"])
        return users, users
