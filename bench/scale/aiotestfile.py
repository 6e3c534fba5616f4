"""What the master of `bench/scale.py` reads: one class of users, whom no process of Python ever runs."""

from aiotest import User


class TestScale(User):
    """Simulated by bench/scale/swarm."""

    async def test_nothing(self) -> None:
        """Never called."""
