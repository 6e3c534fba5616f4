"""Users with open WebSockets, under a host: what a stop does to them."""

from __future__ import annotations

import asyncio
from typing import Any

from aiotest import AsyncHttpUser
from call_server import Recorded, Server
from hosting import hosted, in_loop, until
from websocket_server import saying


def test_a_user_that_waits_for_a_message_is_let_go_at_once_and_its_socket_closed() -> None:
    async def story() -> None:
        async with Server() as server:
            saying(server, "/ws", b"")
            listening: list[Any] = []

            class TestChat(AsyncHttpUser):
                host = server.url
                wait_time = 0

                async def test_listen(self) -> None:
                    async with self.session.ws_connect("/ws", timeout=0.05) as socket:
                        listening.append(socket)
                        await socket.receive()

            async with hosted(TestChat, real=True) as it:
                it.native.do(("start", 0, 3))
                await until(lambda: len(listening) == 3)
                it.native.do(("retire", 0, 3))
                await it.native.until(lambda: it.native.live == {0: 0})
                assert it.native.dead == {0: 0}
                await server.until(lambda: server.open == 0)
            assert [socket.closed for socket in listening] == [True] * 3

    Recorded()
    in_loop(story)
    row = Recorded().row("/ws")
    assert (row["requests"], row["failures"], row["aborted"], row["sent"]) == (3, 0, 0, 3)


def test_a_socket_that_its_user_forgot_is_closed_with_the_users_session() -> None:
    async def story() -> None:
        async with Server() as server:
            saying(server, "/ws", b"")
            kept: list[Any] = []

            class TestChat(AsyncHttpUser):
                host = server.url

                async def on_start(self) -> None:
                    kept.append(await self.session.ws_connect("/ws"))

                async def test_nothing(self) -> None:
                    await asyncio.sleep(0.01)

            async with hosted(TestChat, real=True) as it:
                it.native.do(("start", 0, 2))
                await until(lambda: len(kept) == 2 and server.open == 2)
                it.native.do(("retire", 0, 2))
                await it.native.until(lambda: it.native.live == {0: 0})
                await server.until(lambda: server.open == 0)

    in_loop(story)
