"""A user whose every call is made on a connection of its own."""

from aiotest import AsyncHttpUser


class TestVisitor(AsyncHttpUser):
    """Asks again as soon as the reply is checked."""

    wait_time = 0

    async def test_visit(self) -> None:
        """One request, the first and last of its connection."""
        async with self.session.get("/visit", headers={"Connection": "close"}) as reply:
            body = await reply.json()
            assert body["request"] == 1
