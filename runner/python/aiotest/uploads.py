"""Bodies that are sent while they are made: asynchronous generators, and streams that are read.

A task of its own takes the pieces, as the call waits for its reply meanwhile. It ends with the body, or when
the call does. Start at [`begin`][].
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator
from typing import Any

from aiotest._native import Upload
from aiotest.exception import ClientError

__all__ = ["begin", "pieces", "whole"]

_PIECE = 64 * 1024
_uploads: set[asyncio.Task[None]] = set()


def begin(upload: Upload, body: AsyncIterator[bytes]) -> None:
    """Send `body` from now on, beside the task that is running."""
    task = asyncio.get_running_loop().create_task(_send(upload, body), name="aiotest-upload")
    _uploads.add(task)
    task.add_done_callback(_uploads.discard)


async def _send(upload: Upload, body: AsyncIterator[bytes]) -> None:
    try:
        await upload.ready()
        if upload.over:
            return
        async for piece in body:
            await upload.write(piece)
        upload.end()
    except ClientError:
        pass  # the call has ended meanwhile, and says why
    except Exception as error:
        upload.fail(f"{type(error).__name__}: {error}")
    except asyncio.CancelledError:
        upload.fail("cancelled")
        raise


async def whole(data: bytes) -> AsyncIterator[bytes]:
    """A body that is there already, and waits for the server's word."""
    yield data


def pieces(data: Any, compress: str | None) -> AsyncIterator[bytes]:
    """What `data` gives, one piece after the other, compressed if asked for."""
    plain = _plain(data)
    return plain if compress is None else _compressed(plain, compress)


async def _plain(data: Any) -> AsyncIterator[bytes]:
    if isinstance(data, asyncio.StreamReader):
        while piece := await data.read(_PIECE):
            yield piece
        return
    # A reply's content is lines to `async for`.
    each = data.iter_any() if hasattr(data, "iter_any") else data
    async for piece in each:
        if isinstance(piece, str):
            raise TypeError("data: a generator's pieces must be bytes, not str; use .encode()")
        if piece:
            yield bytes(piece)


async def _compressed(plain: AsyncIterator[bytes], compress: str) -> AsyncIterator[bytes]:
    coder = zlib.compressobj(wbits=zlib.MAX_WBITS | 16 if compress == "gzip" else zlib.MAX_WBITS)
    async for piece in plain:
        if out := coder.compress(piece):
            yield out
    yield coder.flush()
