"""A TCP proxy between runners and their master that does what networks do: it swallows, delays and resets.

Runs in a thread of its own, so that tests set a fault and look on. Never changes a byte, and loses none for
good: what a fault holds back goes on when it is over, late and maybe twice, as after a partition. Start at
[`FaultyProxy.set`][].
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar

Result = TypeVar("Result")

PIECE = 2048
"""Bytes that are passed on at a time."""


@dataclass(frozen=True)
class Fault:
    """What is wrong with the way. Of both directions unless it says otherwise."""

    requests: bool = True
    """What runners send arrives."""
    answers: bool = True
    """What the master answers arrives."""
    accepts: bool = True
    """A new connection reaches the master; otherwise it is as if nobody were there to refuse it."""
    resets: bool = False
    """Every connection is cut with a reset, new ones as soon as they are made."""
    delay: float = 0.0
    """Seconds that each piece takes longer."""
    bytes_per_second: float | None = None


NONE = Fault()
PARTITION = Fault(requests=False, answers=False, accepts=False)
ANSWERS_LOST = Fault(answers=False)
RESET = Fault(resets=True)
SLOW = Fault(delay=0.15, bytes_per_second=20_000)


class FaultyProxy:
    """A proxy to one address. Closed, it cuts every connection."""

    def __init__(self, to: str) -> None:
        """Listen on a port of its own, without a fault."""
        self._host, _, port = to.rpartition(":")
        self._port = int(port)
        self._fault = NONE
        self._changed = asyncio.Condition()
        self._open: set[asyncio.StreamWriter] = set()
        self._talks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._server = self._call(self._listen())
        host, port = self._server.sockets[0].getsockname()
        self.address = f"{host}:{port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def set(self, fault: Fault) -> None:
        """From the return of this call on, nothing passes that the fault holds back."""
        self._call(self._set(fault))

    def close(self) -> None:
        """Cut it for good."""
        self._call(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _call(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._talk, "127.0.0.1", 0)

    async def _set(self, fault: Fault) -> None:
        async with self._changed:
            self._fault = fault
            if fault.resets:
                for writer in self._open:
                    reset(writer)
            self._changed.notify_all()

    async def _end(self) -> None:
        self._server.close()
        talks = list(self._talks)
        for talk in talks:
            talk.cancel()
        await asyncio.gather(*talks)
        # Closed connections say so in the loop's next turn.
        await asyncio.sleep(0)

    async def _talk(self, reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        """One connection from its acceptance to its end."""
        task = asyncio.current_task()
        assert task is not None
        self._talks.add(task)
        self._open.add(near)
        # A runner or a master that is gone is what is tested; so is a proxy that is closed.
        with suppress(OSError, asyncio.CancelledError):
            await self._accepted(near)
            await self._relay(reader, near)
        close(near)
        self._open.discard(near)
        self._talks.discard(task)

    async def _accepted(self, near: asyncio.StreamWriter) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: self._fault.accepts)
        if self._fault.resets:
            reset(near)
            raise ConnectionResetError

    async def _relay(self, reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        """Both directions, until one of them ends."""
        master, far = await asyncio.open_connection(self._host, self._port)
        self._open.add(far)
        ways = [
            asyncio.create_task(self._pass(reader, far, lambda fault: fault.requests)),
            asyncio.create_task(self._pass(master, near, lambda fault: fault.answers)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            close(far)
            self._open.discard(far)

    async def _pass(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, may_pass: Callable[[Fault], bool]
    ) -> None:
        while piece := await source.read(PIECE):
            fault = self._fault
            slow = len(piece) / fault.bytes_per_second if fault.bytes_per_second else 0.0
            if fault.delay + slow > 0.0:
                await asyncio.sleep(fault.delay + slow)
            async with self._changed:
                await self._changed.wait_for(lambda: may_pass(self._fault))
                sink.write(piece)
            await sink.drain()


def reset(writer: asyncio.StreamWriter) -> None:
    """Cut a connection so that the other side sees a reset."""
    with suppress(OSError):
        no_linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_linger)
    writer.transport.abort()


def close(writer: asyncio.StreamWriter) -> None:
    """End a connection, whatever has become of it."""
    with suppress(OSError):
        writer.close()
