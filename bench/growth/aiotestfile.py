"""The user of get_json, whose requests go under ever other names."""

import os

from aiotest import AsyncHttpUser

NAMES = [f"visit {number}" for number in range(int(os.environ["BENCH_NAMES"]))]


class TestVisitor(AsyncHttpUser):
    """Asks again as soon as the reply is checked."""

    wait_time = 0
    count = 0

    async def test_visit(self) -> None:
        """One request."""
        async with self.session.get("/visit", name=NAMES[self.count % len(NAMES)]) as reply:
            body = await reply.json()
            before, self.count = self.count, body["request"]
            assert self.count == before + 1
