"""Every user logs in with an account that nobody else has, taken from a store that all workers share.

The store is a SQLite file here, so all workers are on one machine.
"""

import asyncio
import sqlite3

from aiotest import AsyncHttpUser, events, logger, runners


def store():
    return sqlite3.connect(runners.global_runner.options.accounts, timeout=10, isolation_level=None)


def take_account():
    """The name of an account that nobody has taken yet."""
    connection = store()
    try:
        taken = connection.execute(
            "UPDATE accounts SET taken = 1 WHERE name = (SELECT name FROM accounts WHERE taken = 0 LIMIT 1) "
            "RETURNING name"
        ).fetchall()
    finally:
        connection.close()
    if not taken:
        raise RuntimeError("no account is left")
    return taken[0][0]


def give_back(name):
    connection = store()
    connection.execute("UPDATE accounts SET taken = 0, used = used + 1 WHERE name = ?", (name,))
    connection.close()


class TestOwner(AsyncHttpUser):
    host = "http://127.0.0.1:18080"
    wait_time = 0.1
    account = None

    async def on_start(self):
        self.account = await asyncio.to_thread(take_account)
        logger.info(f"account {self.account}")
        async with self.session.post("/login", json={"user": self.account}) as resp:
            await resp.json()

    async def test_own(self):
        async with self.session.post("/echo", data={"account": self.account}, name="own page") as resp:
            assert await resp.text() == f"account={self.account}"

    async def on_stop(self):
        if self.account:
            await asyncio.to_thread(give_back, self.account)


async def add_options(parser):
    parser.add_argument("--accounts", default="accounts.db", help="the SQLite file with the accounts")


events.init_command_line_parser += add_options
