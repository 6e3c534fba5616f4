"""A user as a person would write it: GET of a small JSON, parsed and asserted, without a wait."""

from aiotest import AsyncHttpUser


class TestReader(AsyncHttpUser):
    """Asks again as soon as the reply is checked."""

    wait_time = 0

    async def test_read(self) -> None:
        """One request."""
        async with self.session.get("/json") as reply:
            body = await reply.json()
            assert body["message"] == "hello"
