"""What the native module's coroutines and `gather` are made of. At run time they are in that module."""

from collections.abc import Coroutine, Generator
from types import TracebackType
from typing import Any, Protocol, Self, final

class Whole(Protocol):
    """Who hears of the ends."""

    def failed(self, error: BaseException, /) -> None:
        """The task that runs now ends with `error`."""

    def ended(self, results: list[Any], /) -> None:
        """All have ended; a failed one's result is its exception."""

@final
class Gathering:
    """The coroutines of one `gather`. Requests that are made until the loop comes round go out together."""

    def __new__(cls, future: Whole, branches: int) -> Self: ...
    def branch(self, index: int, coroutine: Coroutine[Any, Any, Any]) -> Branch:
        """A coroutine that does what `coroutine` does; its outcome is result number `index`."""

@final
class Branch(Coroutine[Any, Any, Any]):
    """One of the coroutines, as its task has it. Further attributes are the coroutine's own."""

    def __await__(self) -> Generator[Any, Any, Any]: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> Any: ...
    def send(self, value: None) -> Any: ...
    def throw(
        self,
        kind: type[BaseException] | BaseException,
        value: BaseException | object = None,
        traceback: TracebackType | None = None,
    ) -> Any: ...
    def close(self) -> None: ...
    def __getattr__(self, name: str) -> Any: ...

@final
class Step:
    """The awaitable behind the coroutines of a reply; over without suspending when what it gives is there."""

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
