"""Requests with ten thousand distinct URLs, names and error texts, replies of several sizes, and cookies."""

import itertools
import json

from aiotest import AsyncHttpUser

DISTINCT = 10_000
TURNS = itertools.cycle(range(DISTINCT))


class TestReader(AsyncHttpUser):
    """Asks without a pause; one call in ten fails, each with a text of its own."""

    wait_time = 0

    async def test_items(self) -> None:
        """The URL, and so the name, is another one each time."""
        turn = next(TURNS)
        async with self.session.get(f"/item/{turn}") as reply:
            assert (await reply.json())["item"] == turn
            if turn % 10 == 0:
                reply.failure(ValueError(f"the price of item {turn} is wrong"))

    async def test_body(self) -> None:
        """A body that is sent and one that comes, up to a few kilobytes."""
        async with self.session.get("/bytes/" + str(next(TURNS) % 5_000), name="/bytes") as reply:
            await reply.read()

    async def test_echo(self) -> None:
        """A query that is another one each time, and headers of the call's own."""
        headers = {"X-Turn": str(next(TURNS))}
        async with self.session.post(
            "/echo", params={"q": next(TURNS)}, json=headers, headers=headers
        ) as reply:
            json.dumps(await reply.json())
