"""JSON bodies are byte for byte what `json.dumps` gives, and replies what `json.loads` gives; errors too."""

from __future__ import annotations

import asyncio
import enum
import json
import math
import struct
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from aiotest.client import ClientSession
from call_server import Server, reply
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

EXAMPLES = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])


class Kind(enum.IntEnum):
    SMALL = 1


class Pair(NamedTuple):
    a: int
    b: list[int]


class Name(str):
    """Its `str` is another text, which json.dumps does not ask for."""

    def __str__(self) -> str:
        return "another"


class Half(float):
    def __repr__(self) -> str:
        return "a half"


class Growing(dict[str, Any]):
    """Changes while it is looked at."""

    def items(self) -> Any:
        self[str(len(self))] = len(self)
        return super().items()


class Meddler(str):
    """A key that changes its dict when it is compared or written."""

    holder: dict[Any, Any]

    def __hash__(self) -> int:
        return super().__hash__()

    def __eq__(self, other: object) -> bool:
        self.holder.clear()
        return super().__eq__(other)

    def __str__(self) -> str:
        self.holder.clear()
        return "meddled"


def meddled() -> dict[Any, Any]:
    key = Meddler("a")
    key.holder = {key: 1, "b": [2], "c": object}
    return key.holder


class Shared:
    """One loop, server and session for all examples of a property."""

    def __init__(self, loop: asyncio.AbstractEventLoop, server: Server, session: ClientSession) -> None:
        self.loop = loop
        self.server = server
        self.session = session

    def sent(self, value: Any, session: ClientSession | None = None) -> bytes:
        """The body of a call with `json=value`."""

        async def post() -> bytes:
            await (session or self.session).post("/", json=value)
            return self.server.seen.pop().body

        return self.loop.run_until_complete(post())

    def received(self, body: bytes) -> Any:
        """The reply `body`, parsed."""

        async def get() -> Any:
            self.server.replies["/reply"] = reply(body=body, head="Content-Type: application/json\r\n")
            # Not in a block, which takes an exception for the call's failure.
            return await (await self.session.get("/reply")).json()

        return self.loop.run_until_complete(get())


@pytest.fixture(scope="module")
def shared() -> Iterator[Shared]:
    loop = asyncio.new_event_loop()
    server = Server()
    loop.run_until_complete(server.__aenter__())
    session = ClientSession(base_url=server.url)

    async def leave() -> None:
        await session.close()
        await server.__aexit__(None, None, None)

    yield Shared(loop, server, session)
    loop.run_until_complete(leave())
    loop.close()


def outcome(act: Callable[[], Any]) -> Any:
    """What comes of it: a result with the types and bits of its parts, or the kind and text of an error."""
    try:
        return exact(act())
    except Exception as error:
        return type(error), str(error)


def exact(value: Any) -> Any:
    """Equal only to what is the same: 1 is not 1.0 or True, nor 0.0 -0.0, and the order of keys counts."""
    if isinstance(value, dict):
        return dict, [(key, exact(item)) for key, item in value.items()]
    if isinstance(value, list):
        return list, [exact(item) for item in value]
    return type(value), struct.pack("d", value) if isinstance(value, float) else value


integers = st.integers() | st.integers(-(2**70), 2**70) | st.sampled_from([2**63 - 1, 2**63, -(2**63), 2**64])
tame = st.builds(round, st.floats(-1e6, 1e6), st.integers(1, 6))
powers = st.builds(math.ldexp, st.sampled_from([1.0, 3.0, -1.0]), st.integers(-1074, 1020))
floats = st.floats() | tame | powers | st.floats(1e-6, 1e-3) | st.floats(1e15, 1e17)
# Among them halves of surrogate pairs, controls, DEL and the line separators.
texts = st.text(st.characters(), max_size=12) | st.sampled_from(['"\\/', "\x00\x1f\x7f", "\u2028\ud800"])
leaves = st.none() | st.booleans() | integers | floats | texts
plain = st.recursive(
    leaves,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner) | st.tuples(inner, inner),
    max_leaves=30,
)
keys = texts | st.sampled_from([1, None, 0.5, True, Kind.SMALL, Name("k"), (1, 2)])
subclasses = [Kind.SMALL, Name("n"), Half(0.5), Pair(1, [2]), OrderedDict(b=1, a=2), Counter("aab")]
odd = st.sampled_from([*subclasses, {1, 2}, b"bytes", object, range(3)])
anything = st.recursive(leaves | odd, lambda inner: st.lists(inner) | st.dictionaries(keys, inner))


@EXAMPLES
@given(value=plain.filter(lambda value: value is not None))
@example(value={"a": [], "b": {}, "c": (), "": ""})
@example(value=[0.1 + 0.2, 1e16, 1e-5, 0.0001, -0.0, 5e-324, 1.7976931348623157e308, math.nan, -math.inf])
def test_a_body_has_the_bytes_of_json_dumps(shared: Shared, value: Any) -> None:
    assert shared.sent(value) == json.dumps(value).encode()


@EXAMPLES
@given(value=anything.filter(lambda value: value is not None))
@example(value=[Kind.SMALL, {"a": Half(0.5)}])
def test_what_is_not_plain_ends_as_it_does_in_json_dumps(shared: Shared, value: Any) -> None:
    assert outcome(lambda: shared.sent(value)) == outcome(lambda: json.dumps(value).encode())


@pytest.mark.parametrize("make", [lambda: Growing(a=1), lambda: {"x": Growing(a=1)}, meddled])
def test_a_value_that_changes_meanwhile_ends_as_it_does_in_json_dumps(
    shared: Shared, make: Callable[[], Any]
) -> None:
    assert outcome(lambda: shared.sent(make())) == outcome(lambda: json.dumps(make()).encode())


@pytest.mark.parametrize("depth", [1, 50, 98, 99, 100, 101, 102, 500, 2000])
def test_nesting_of_any_depth(shared: Shared, depth: int) -> None:
    value: Any = 1
    for level in range(depth):
        value = [value] if level % 2 else {"k": value}
    # What is deeper than the interpreter allows is refused by it, at a depth that differs between versions.
    expected = outcome(lambda: json.dumps(value).encode())
    sent = outcome(lambda: shared.sent(value))
    assert sent == expected or RecursionError in (sent[0], expected[0])
    if depth <= 500:
        assert sent == expected
        assert shared.received(json.dumps(value).encode()) == value


def test_what_holds_itself_is_refused_in_the_words_of_json_dumps(shared: Shared) -> None:
    circle: list[Any] = []
    circle.append({"again": circle})
    with pytest.raises(ValueError, match="Circular reference detected"):
        shared.sent(circle)


def test_a_number_that_python_refuses_to_write_is_refused_in_its_words(shared: Shared) -> None:
    with pytest.raises(ValueError, match=r"Exceeds the limit \(4300 digits\)"):
        shared.sent([10**4400])


def test_another_serializer_is_called_as_it_is(shared: Shared) -> None:
    def compact(value: Any) -> str:
        return json.dumps(value, separators=(",", ":"))

    async def session(**given: Any) -> ClientSession:
        return ClientSession(base_url=shared.server.url, **given)

    def sent(**given: Any) -> bytes:
        return shared.sent({"a": 1}, shared.loop.run_until_complete(session(**given)))

    assert sent(json_serialize=compact) == b'{"a":1}'
    assert sent(json_serialize=json.dumps) == sent() == b'{"a": 1}'


def test_python_is_asked_only_for_what_is_not_plain(shared: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or else all of this would hold of a client that does nothing itself."""
    asked = []

    class Encoder(json.JSONEncoder):
        def encode(self, value: Any) -> str:
            asked.append(value)
            return super().encode(value)

    class Decoder(json.JSONDecoder):
        def decode(self, text: str, *others: Any) -> Any:
            asked.append(text)
            return super().decode(text, *others)

    monkeypatch.setattr(json, "_default_encoder", Encoder())
    monkeypatch.setattr(json, "_default_decoder", Decoder())
    value = {"text": "ü\n", "numbers": [1, -2.5, 1e-7, 2**63], "others": [True, None, [], {}]}
    body = json.JSONEncoder().encode(value).encode()
    assert shared.sent(value) == body
    assert shared.received(body) == value
    assert asked == []
    shared.sent(Kind.SMALL)
    shared.received(b"-0")
    assert asked == [Kind.SMALL, "-0"]


@EXAMPLES
@given(value=plain)
@example(value=[2**63, 2**64, -(2**63) - 1, 1e300, -0.0, math.nan])
def test_a_reply_is_what_json_loads_gives(shared: Shared, value: Any) -> None:
    for ascii_only in (True, False):
        body = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
        check_reply(shared, body)


@EXAMPLES
@given(
    value=plain,
    at=st.floats(0, 1),
    cut=st.integers(0, 2),
    put=st.sampled_from(
        [b"", *(bytes([byte]) for byte in b'0-+.eE"\\{}[]:,u \t\x00\x0b\xff'), b"\xef\xbb\xbf"]
    )
    | st.sampled_from([b'{"a": 1, "b": 2, "a": 3}', b"\\ud83d\\ude00", b"\\ud83d", b"01", b"1e999", b"NaN"]),
)
@example(value=0, at=0, cut=1, put=b'{"a": 1, "b": 2, "a": 3}')
@example(value="", at=0.5, cut=0, put=b"\\ud83d\\ude00")
@example(value=0, at=0, cut=0, put=b"-")
def test_a_broken_reply_ends_as_it_does_in_json_loads(
    shared: Shared, value: Any, at: float, cut: int, put: bytes
) -> None:
    body = json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
    place = int(at * len(body))
    check_reply(shared, body[:place] + put + body[place + cut :])


def check_reply(shared: Shared, body: bytes) -> None:
    """Beside `json.loads`, as for aiohttp: the reply is stripped, and nothing is None."""
    stripped = body.strip(b" \t\n\r\x0c")
    expected = outcome(lambda: json.loads(stripped.decode()) if stripped else None)
    assert outcome(lambda: shared.received(body)) == expected
