"""What is said on a connection behind a request: messages of a WebSocket (`aiotest.websocket` is the other
half), and a body that is streamed (`aiotest.uploads`). At run time this is in the native module.
"""

from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self, final

@final
class WebSocketStream:
    """A connection that speaks WebSocket. It is closed when nothing holds it any more."""

    def receive(self) -> Coroutine[Any, Any, tuple[int, Any, str | None] | None]:
        """The next message: opcode, payload (text, bytes, or the code of a close, 0 without one), and the
        reason of a close. `None` at the end of the connection. Raises: `WebSocketError`; `ClientError` if the
        connection fails.
        """

    def send(self, opcode: int, payload: bytes | str) -> Coroutine[Any, Any, None]:
        """Send a message at once; to be awaited, as it waits while the server takes less than is sent.
        Raises: `ClientConnectionError` once it is closed.
        """

    def cut(self) -> None:
        """Close the connection without a word. Whoever waits sees its end."""

    @property
    def heard(self) -> int:
        """Bytes that have come so far."""

@final
class Upload:
    """The body of a call, while it is sent piece by piece."""

    def ready(self) -> Coroutine[Any, Any, None]:
        """Awaited, it waits until the first piece can be sent, or the call has ended."""

    @property
    def over(self) -> bool:
        """Whether the call has ended, so that nothing more is to be sent."""

    def write(self, piece: bytes) -> Coroutine[Any, Any, None]:
        """Send a piece at once; awaited, it waits while the server takes less than is sent. Raises:
        `ClientConnectionError` once the call has ended.
        """

    def end(self) -> None:
        """There are no more pieces."""

    def fail(self, why: str) -> None:
        """The next piece cannot be had: the call fails."""

@final
class Said:
    """The awaitable behind the coroutines here. Cancelling it loses nothing."""

    def __await__(self) -> Self: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> Any: ...
    def send(self, value: object) -> Any: ...
    def throw(
        self,
        kind: type[BaseException] | BaseException,
        value: BaseException | object = None,
        traceback: TracebackType | None = None,
    ) -> Any: ...
    def close(self) -> None: ...
