"""A user that posts an order of 1 KB; the count in its replies must rise by one."""

import json
from pathlib import Path

from aiotest import AsyncHttpUser

ORDER = json.loads((Path(__file__).parent.parent / "order.json").read_text())


class TestBuyer(AsyncHttpUser):
    """Orders again as soon as the reply is checked."""

    wait_time = 0
    count = 0

    async def test_order(self) -> None:
        """One request."""
        async with self.session.post("/visit", json=ORDER) as reply:
            body = await reply.json()
            before, self.count = self.count, body["request"]
            assert reply.status == 200
            assert self.count == before + 1
