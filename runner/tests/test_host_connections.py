"""Whose connections the users of a class use, as their server sees it; cookies are each user's own."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiotest import AsyncHttpUser
from aiotest.collection import AiotestfileError, collect
from call_server import Seen, Server, reply
from command_line import write
from hosting import hosted, in_loop, until


@pytest.mark.parametrize(
    ("whose", "limit", "connections"),
    [("own", 100, 6), ("shared", 2, 2), ("shared", 0, 6), ("close", 100, 24)],
)
def test_a_class_says_whose_connections_its_users_use(whose: Any, limit: int, connections: int) -> None:
    async def story() -> None:
        async with Server() as server:
            together = asyncio.Barrier(6)
            seen: list[tuple[str, str | None]] = []
            done: list[int] = []

            async def greet(request: Seen, writer: asyncio.StreamWriter) -> None:
                seen.append((request.headers["x-user"], request.headers.get("cookie")))
                head = f"Set-Cookie: who={request.headers['x-user']}\r\n"
                await asyncio.sleep(0.01)
                writer.write(reply(body=b"hello", head=head))

            server.handlers["/hello"] = greet

            class TestVisitor(AsyncHttpUser):
                host = server.url
                wait_time = 0
                connections = whose
                connection_limit = limit

                async def test_hello(self) -> None:
                    if id(self) in done:
                        await asyncio.sleep(10)
                    await together.wait()
                    for _ in range(4):
                        async with self.session.get("/hello", headers={"X-User": str(id(self))}) as response:
                            await response.read()
                    done.append(id(self))

            async with hosted(TestVisitor, real=True) as it:
                it.native.do(("start", 0, 6))
                await until(lambda: len(done) == 6)
                assert server.connections == connections
            assert len(seen) == 24
            later = [(user, cookie) for user, cookie in seen if cookie is not None]
            assert len(later) == 18
            assert all(cookie == f"who={user}" for user, cookie in later)

    in_loop(story)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("connections = 'pooled'", 'TestA.connections must be "own", "shared" or "close", not \'pooled\''),
        (
            "connection_limit = -1",
            "TestA.connection_limit must be a number of connections, or 0 for any number",
        ),
        ("connection_limit = True", "TestA.connection_limit must be a number of connections"),
    ],
)
def test_what_says_nothing_of_the_kind_is_refused_with_its_line(line: str, said: str, tmp_path: Path) -> None:
    file = write(
        tmp_path,
        f"""
        from aiotest import AsyncHttpUser

        class TestA(AsyncHttpUser):
            {line}

            async def test_it(self):
                pass
        """,
    )
    with pytest.raises(AiotestfileError) as raised:
        collect(str(file))
    assert f"aiotestfile.py:4: {said}" in str(raised.value)
