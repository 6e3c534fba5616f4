"""Every wrong use: at once, with the argument's name and what would be right. Of a file's classes also their
place, in a run that exits 1 and sends nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiotest import ClientSession, ClientTimeout, TCPConnector, User, _native, events
from command_line import free_port, run, write

PAIRS = "must be a mapping or a sequence of pairs of name and value"
WRONG_CALLS: dict[str, tuple[Callable[[Any], object], type[Exception], str]] = {
    "an unknown keyword": (
        lambda s: s.get("/", parms={}),
        TypeError,
        "a call takes no argument `parms` (it takes name, params, ",
    ),
    "a relative URL without a host": (
        lambda s: ClientSession().get("/login"),
        ValueError,
        "/login - a relative URL needs a host: `host` of the user class, --host, or `base_url` of",
    ),
    "no URL": (lambda s: s.get(None), TypeError, "url must be a str or a yarl.URL, not NoneType"),
    "a number as URL": (lambda s: s.post(7), TypeError, "url must be a str or a yarl.URL, not int"),
    "another scheme": (lambda s: s.get("ftp://x/"), ValueError, "`ftp://x/` has the scheme `ftp`; http or"),
    "no method": (lambda s: s.request("GE T", "/"), ValueError, "`GE T` is not a method"),
    "a body of a wrong type": (
        lambda s: s.post("/", data=7),
        TypeError,
        "a FormData, a file or an async generator; int is not",
    ),
    "a field of a wrong type": (
        lambda s: s.post("/", data={"a": object()}),
        TypeError,
        "data: `a` must be a str, int or float, not object",
    ),
    "no pairs as a form": (lambda s: s.post("/", data=[1, 2]), TypeError, f"data {PAIRS}"),
    "two bodies": (
        lambda s: s.post("/", data=b"", json=1),
        ValueError,
        "data and json cannot be given at the same time",
    ),
    "what is no JSON": (lambda s: s.post("/", json={1}), TypeError, "Object of type set is not JSON"),
    "params of a wrong type": (lambda s: s.get("/", params=7), TypeError, f"params {PAIRS}, not int"),
    "params that are no pairs": (lambda s: s.get("/", params=[1]), TypeError, f"params {PAIRS}"),
    "a param of a wrong type": (
        lambda s: s.get("/", params={"a": None}),
        TypeError,
        "params: `a` must be a str, int or float, not NoneType",
    ),
    "headers of a wrong type": (lambda s: s.get("/", headers=7), TypeError, f"headers {PAIRS}, not int"),
    "a header without a value": (
        lambda s: s.get("/", headers={"a": None}),
        TypeError,
        "the value of header `a` is None",
    ),
    "a header with a line break": (
        lambda s: s.get("/", headers={"a": "b\r\nc: d"}),
        ValueError,
        "the value of header `a` has a line break",
    ),
    "cookies of a wrong type": (lambda s: s.get("/", cookies=7), TypeError, f"cookies {PAIRS}, not int"),
    "auth of a wrong type": (lambda s: s.get("/", auth="me"), TypeError, "auth must be a pair of user and"),
    "a timeout of a wrong type": (
        lambda s: s.get("/", timeout="3"),
        TypeError,
        "timeout must be a ClientTimeout or a number of seconds, not str",
    ),
    "a negative timeout": (lambda s: s.get("/", timeout=-1), ValueError, "timeout must be a number of sec"),
    "a name of a wrong type": (lambda s: s.get("/", name=7), TypeError, "name must be a str, not 7"),
    "max_redirects of a wrong type": (
        lambda s: s.get("/", max_redirects="3"),
        TypeError,
        "max_redirects must be a whole number, 0 or more, not '3'",
    ),
    "negative max_redirects": (
        lambda s: s.get("/", max_redirects=-1),
        TypeError,
        "max_redirects must be a whole number, 0 or more, not -1",
    ),
    "an unknown coding": (
        lambda s: s.post("/", data=b"x", compress="lzma"),
        ValueError,
        "compress must be `gzip`, `deflate` or a bool, not `lzma`",
    ),
    "names of headers as a text": (
        lambda s: s.get("/", skip_auto_headers="Accept"),
        TypeError,
        "skip_auto_headers must be names of headers",
    ),
    "a base URL without a scheme": (
        lambda s: ClientSession("localhost:8080"),
        ValueError,
        "`localhost:8080` has the scheme `localhost`; http or https is needed",
    ),
    "an unknown keyword of a session": (
        lambda s: ClientSession(base="http://x"),  # type: ignore[call-arg]
        TypeError,
        "ClientSession takes no argument `base`",
    ),
    "headers of a session": (
        lambda s: ClientSession(headers=7),  # type: ignore[arg-type]
        TypeError,
        "headers must be a mapping or pairs of name and value, not int",
    ),
    "cookies of a session": (
        lambda s: ClientSession(cookies=7),  # type: ignore[arg-type]
        TypeError,
        f"cookies {PAIRS}, not int",
    ),
    "a serializer that is none": (
        lambda s: ClientSession(json_serialize=7),  # type: ignore[arg-type]
        TypeError,
        "json_serialize must be a function, such as json.dumps",
    ),
    "a connector of a wrong type": (
        lambda s: ClientSession(connector=7),  # type: ignore[arg-type]
        TypeError,
        "connector must be a TCPConnector, not int",
    ),
    "a buffer of a wrong type": (
        lambda s: ClientSession(read_bufsize="big"),  # type: ignore[arg-type]
        TypeError,
        "while processing 'read_bufsize'",
    ),
    "a limit of a wrong type": (
        lambda s: ClientTimeout("3"),  # type: ignore[arg-type]
        TypeError,
        "while processing 'total'",
    ),
    "a negative limit": (lambda s: ClientTimeout(sock_read=-3), ValueError, "sock_read must be a number of"),
    "an unknown limit": (
        lambda s: ClientTimeout(tot=3),  # type: ignore[call-arg]
        TypeError,
        "unexpected keyword argument 'tot'",
    ),
    "a negative number of connections": (
        lambda s: TCPConnector(limit=-1),
        ValueError,
        "limit must be a number of connections, or 0 for no limit, not -1",
    ),
    "a negative number of connections to a host": (
        lambda s: TCPConnector(limit_per_host=-1),
        ValueError,
        "limit_per_host must be a number of connections, or 0 for no limit, not -1",
    ),
    "an idle time that is none": (
        lambda s: TCPConnector(keepalive_timeout=-1),
        ValueError,
        "keepalive_timeout must be a number of seconds from 0, not -1",
    ),
    "an idle time where nothing is idle": (
        lambda s: TCPConnector(force_close=True, keepalive_timeout=3),
        ValueError,
        "keepalive_timeout cannot be set where force_close is True",
    ),
    "a handler that cannot be called": (
        lambda s: events.test_start.__iadd__(7),  # type: ignore[arg-type]
        TypeError,
        "a handler of `test_start` must be a coroutine function, not 7",
    ),
    "a handler that was never added": (
        lambda s: events.test_start.__isub__(print),
        ValueError,
        "is no handler of `test_start`",
    ),
}


@pytest.mark.parametrize("what", WRONG_CALLS)
def test_a_wrong_call_raises_at_once_and_names_the_argument(what: str) -> None:
    wrong, kind, says = WRONG_CALLS[what]

    async def main() -> None:
        session = ClientSession("http://127.0.0.1:9")
        with pytest.raises(kind) as raised:
            wrong(session)
        told = "\n".join([str(raised.value), *getattr(raised.value, "__notes__", ())])
        assert says in told, told
        await session.close()
        assert "rows" not in _native.take_statistics_json(), "nothing was called"

    _native.take_statistics_json()
    asyncio.run(main())


FILE = """
from aiotest import AsyncHttpUser, LoadUserShape, User

class TestShop(AsyncHttpUser):
    host = "http://127.0.0.1:9"

    async def test_it(self):
        raise SystemExit("a user of a wrong file has run")
"""
SHAPE = "\nclass Test{}(LoadUserShape):\n    def tick(self): return None\n"
OF_1_X = (
    "failed to import: ImportError: `{}` is of Aiotest 1.x, which does not run here: "
    "write the file with the names of Aiotest 0.5 (User, AsyncHttpUser, "
)
WRONG_FILES: dict[str, tuple[str, str]] = {
    "wait_time": (
        FILE.replace("host =", "wait_time = -1; host ="),
        "aiotestfile.py:4: TestShop.wait_time must be a number of seconds, 0 or more, a pair (low, high) of",
    ),
    "a pair the wrong way round": (
        FILE.replace("host =", "wait_time = (3, 1); host ="),
        "aiotestfile.py:4: TestShop.wait_time is a pair whose low is above its high: write (1, 3)",
    ),
    "weight": (
        FILE.replace("host =", "weight = 0.5; host ="),
        "aiotestfile.py:4: TestShop.weight must be a whole number, 0 or more (0 disables the class), not 0.5",
    ),
    "negative weight": (
        FILE.replace("host =", "weight = -2; host ="),
        "aiotestfile.py:4: TestShop.weight must be a whole number, 0 or more (0 disables the class), not -2",
    ),
    "host": (
        FILE.replace("http://", ""),
        "aiotestfile.py:4: TestShop.host must be a URL that begins with http:// or https://, "
        "such as http://127.0.0.1:9, not '127.0.0.1:9'",
    ),
    "host of a wrong type": (
        FILE.replace('"http://127.0.0.1:9"', "8080"),
        "aiotestfile.py:4: TestShop.host must be a URL that begins with http:// or https://",
    ),
    "a job that is no coroutine": (
        FILE.replace("async def test_it", "def test_it"),
        "aiotestfile.py:7: TestShop.test_it is named like a job, but is no coroutine: make it `async def`",
    ),
    "a job without self": (
        FILE.replace("test_it(self)", "test_it()"),
        "aiotestfile.py:7: TestShop.test_it() must take the user alone: `(self)`",
    ),
    "a job that wants more": (
        FILE.replace("test_it(self)", "test_it(self, page)"),
        "aiotestfile.py:7: TestShop.test_it(self, page) must take the user alone: `(self)`",
    ),
    "no job": (
        FILE.replace("test_it", "look"),
        "aiotestfile.py:4: TestShop has no job: write `async def test_…(self)`",
    ),
    "on_start that is no coroutine": (
        FILE + "\n    def on_start(self): pass\n",
        "aiotestfile.py:10: TestShop.on_start must be `async def`",
    ),
    "two shapes": (
        FILE + SHAPE.format("One") + SHAPE.format("Two"),
        "aiotestfile.py:13: TestOne and TestTwo are both shapes: a file may have one",
    ),
    "a shape without tick": (
        FILE + "\nclass TestSteps(LoadUserShape):\n    pass\n",
        "aiotestfile.py:10: TestSteps has no `tick` method",
    ),
    "no user class": (
        "x = 1\n",
        "aiotestfile.py:1: no user class: write a subclass of User or AsyncHttpUser",
    ),
    "a user class with another name": (
        FILE.replace("TestShop", "Shop"),
        "aiotestfile.py:4: no user class: the name of Shop neither starts nor ends with `Test`",
    ),
    "generation 1.x": (
        "import asyncio\nfrom aiotest import HttpUser\n",
        "aiotestfile.py:2: " + OF_1_X.format("HttpUser"),
    ),
    "both generations in one file": (
        "from aiotest import AsyncHttpUser, LoadUserShape, ExecutionMode, weight\n" + FILE,
        "aiotestfile.py:1: " + OF_1_X.format("ExecutionMode"),
    ),
    "a decorator of 1.x": (
        "import aiotest\nfrom aiotest import User\nclass TestA(User):\n    @aiotest.weight(3)\n"
        "    async def test_it(self): pass\n",
        "aiotestfile.py:4: " + OF_1_X.format("weight"),
    ),
    "an event of 1.x": (
        "from aiotest import test_start\n",
        "aiotestfile.py:1: " + OF_1_X.format("test_start"),
    ),
    "a name of no generation": (
        "from aiotest import HttpUsr\n",
        "aiotestfile.py:1: failed to import: ImportError: cannot import name 'HttpUsr' from 'aiotest'",
    ),
}


@pytest.mark.parametrize("what", WRONG_FILES)
def test_a_wrong_file_exits_1_with_class_and_line(tmp_path: Path, what: str) -> None:
    source, says = WRONG_FILES[what]
    (tmp_path / "aiotestfile.py").write_text(source)
    code, output = run("-t", 1, "--prometheus-port", free_port(), cwd=tmp_path)
    assert code == 1
    assert says in output
    assert "Traceback" not in output
    assert "has run" not in output


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["-r", "-5"], "argument -r/--rate: `-5` is not a number of users a second above 0"),
        (["--rate=-0.5"], "argument -r/--rate: `-0.5` is not a number of users a second above 0"),
        (["-u", "-3"], "argument -u/--users: `-3` is not a whole number, 1 or more"),
        (["-t", "-3"], "argument -t/--run-time: `-3` is no time of a second or more"),
        (
            ["-H", "localhost:8080"],
            "argument -H/--host must be a URL that begins with http:// or https://, such as "
            "http://localhost:8080, not 'localhost:8080'",
        ),
        (["--host", "ftp://x"], "argument -H/--host must be a URL that begins with http:// or https://"),
        (["--expect-workers", "0"], "argument --expect-workers: `0` is not a whole number, 1 or more"),
        (["--userz", "3"], "unrecognized arguments: --userz 3"),
    ],
)
def test_a_wrong_command_line_exits_1_and_names_the_option(
    tmp_path: Path, argv: list[str], says: str
) -> None:
    write(tmp_path, FILE)
    code, output = run(*argv, "--prometheus-port", free_port(), cwd=tmp_path)
    assert code == 1
    assert f"aiotest: {says}" in output
    assert "Traceback" not in output
    assert "has run" not in output


def test_a_host_of_users_that_are_not_http_may_be_anything(tmp_path: Path) -> None:
    write(
        tmp_path,
        """
    from aiotest import User

    class TestSql(User):
        async def test_it(self):
            assert self.host == "db.example:5432"
    """,
    )
    code, output = run("-t", 1, "-H", "db.example:5432", "--prometheus-port", free_port(), cwd=tmp_path)
    assert code == 0, output


def test_names_of_1_x_are_not_there_for_code_that_looks_for_them() -> None:
    import aiotest

    with pytest.raises(ImportError, match=r"`HttpUser` is of Aiotest 1\.x"):
        from aiotest import HttpUser  # type: ignore[attr-defined]  # noqa: F401
    with pytest.raises(AttributeError, match="module `aiotest` has no attribute `Nothing`"):
        aiotest.Nothing  # type: ignore[attr-defined]  # noqa: B018
    assert not hasattr(aiotest, "nothing")
    assert issubclass(aiotest.AsyncHttpUser, User)
