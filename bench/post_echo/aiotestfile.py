"""A user that posts an order of 1 KB and gets it back."""

import json
from pathlib import Path
from typing import Any

from aiotest import AsyncHttpUser

ORDER: dict[str, Any] = json.loads((Path(__file__).parent.parent / "order.json").read_text())


class TestBuyer(AsyncHttpUser):
    """Orders again as soon as the reply is checked."""

    wait_time = 0
    orders = 0

    async def test_order(self) -> None:
        """One request."""
        self.orders += 1
        async with self.session.post("/echo", json=ORDER | {"number": self.orders}) as reply:
            body = await reply.json()
            assert reply.status == 200
            assert body["number"] == self.orders
