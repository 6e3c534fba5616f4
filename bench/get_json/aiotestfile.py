"""A user as a person would write it. A reply names its connection's request count, which must rise by one."""

from aiotest import AsyncHttpUser


class TestVisitor(AsyncHttpUser):
    """Asks again as soon as the reply is checked."""

    wait_time = 0
    count = 0

    async def test_visit(self) -> None:
        """One request."""
        async with self.session.get("/visit") as reply:
            body = await reply.json()
            before, self.count = self.count, body["request"]
            assert self.count == before + 1
