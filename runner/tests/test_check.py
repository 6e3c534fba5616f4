"""`aiotest check` and `aiotest init`, as people type them."""

from __future__ import annotations

import asyncio
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiotest.options import UsageError, parse_check
from command_line import Command, free_port, run, write
from example_target import Target, running_target
from one_server import OneServer, one_server

USERS = """
    from aiotest import AsyncHttpUser, LoadUserShape, User, events

    class TestShop(AsyncHttpUser):
        weight = 3
        wait_time = (100, 200)

        async def on_start(self):
            async with self.session.get("/login") as resp:
                self.ok = (await resp.json())["ok"]

        async def test_item(self):
            assert self.ok
            async with self.session.get("/item/7?full=1", name="/item/[n]") as resp:
                pass
            await (await self.session.get("/list")).read()

        async def on_stop(self):
            async with self.session.post("/logout", data=b"") as resp:
                resp.success()

    class TestSql(User):
        async def test_select(self):
            await events.stats_request.fire(
                runner=None, request_name="select 1", request_method="SQL", response_time=2.5,
                response_length=7, error=None)
"""


@pytest.fixture
def server() -> Iterator[OneServer]:
    with one_server() as running:
        yield running


def told(output: str) -> list[str]:
    """The lines about calls and problems, without their times."""
    lines = [re.sub(r"  \d+\.\d ms  ", "  ", line) for line in output.splitlines()]
    return [line.strip() for line in lines if line.startswith("    ")]


def test_each_job_of_each_class_runs_once_and_every_call_is_shown(tmp_path: Path, server: OneServer) -> None:
    write(
        tmp_path,
        USERS
        + """
    class TestSteps(LoadUserShape):
        def tick(self):
            step = int(self.get_run_time() // 30)
            return (10 * (step + 1), 5) if step < 2 else None
    """,
    )
    code, output = run("check", "aiotestfile.py", "-H", server.url, cwd=tmp_path)
    assert code == 0, output
    assert server.counts == {"/login": 1, "/item/7?full=1": 1, "/list": 1}  # it counts GET alone
    assert told(output) == [
        "0 s  10 users, 5 a second",
        "30 s  20 users, 5 a second",
        "60 s  the test ends",
        "GET    /login  200  ok",
        "GET    /item/[n]  (/item/7?full=1)  200  ok",
        "GET    /list  200  ok",
        "POST   /logout  501  ok",
        "SQL    select 1  -  ok",
    ]
    assert "TestShop: weight 3 (75% of the users), jobs test_item" in output
    assert output.splitlines()[-1] == "all went well: 2 classes, 2 jobs, 5 calls"


PROBLEMS = """
    import asyncio
    from aiotest import AsyncHttpUser

    class TestShop(AsyncHttpUser):
        host = "SERVER"
        def wait_time(self): return "soon"

        async def test_missing(self):
            async with self.session.get("/missing") as resp:
                pass

        async def test_bug(self):
            {}["token"]

        async def test_key(self):
            async with self.session.get("/ok") as resp:
                (await resp.json())["token"]

        async def test_hangs(self):
            await self.session.get("/ok")
            await asyncio.sleep(1000)

        async def on_stop(self):
            self.nothing

    class TestRefused(AsyncHttpUser):
        host = "NOBODY"

        async def on_start(self):
            await self.session.get("/")

        async def test_never(self):
            raise RuntimeError("a user whose on_start failed runs no job")

    class TestInit(AsyncHttpUser):
        def __init__(self):
            raise LookupError("no account left")

        async def test_never(self): pass

    class TestNowhere(AsyncHttpUser):
        async def test_relative(self):
            await self.session.get("/ok")
"""


def test_every_problem_is_told_and_the_rest_goes_on(tmp_path: Path, server: OneServer) -> None:
    source = PROBLEMS.replace("NOBODY", f"http://127.0.0.1:{free_port()}").replace("SERVER", server.url)
    write(tmp_path, source)
    code, output = run("check", "aiotestfile", "--timeout", 1.5, cwd=tmp_path)
    assert code == 1, output
    problems = [line.removeprefix("problem: ") for line in output.splitlines() if "problem: " in line]
    assert problems[:6] == [
        "TestShop.wait_time raised ValueError: TestShop.wait_time returned 'soon': "
        "it must return a number of seconds, 0 or more",
        "GET /missing failed: 404 Not Found",
        "TestShop.test_bug raised KeyError: 'token' (aiotestfile.py:14)",
        "GET /ok failed: KeyError: 'token'",
        "TestShop.test_hangs did not end within 1.5 s (aiotestfile.py:22)",
        "TestShop.on_stop raised AttributeError: 'TestShop' object has no attribute 'nothing' "
        "(aiotestfile.py:25)",
    ]
    assert re.match(r"GET / failed: connection refused", problems[6])
    assert problems[7:9] == [
        "TestRefused.on_start raises its call's failure: the user ends there",
        "the user died: LookupError: no account left",
    ]
    assert "TestNowhere.test_relative raised InvalidURL: /ok - a relative URL needs a host" in problems[9]
    assert problems[9].endswith("(aiotestfile.py:44)")
    assert len(problems) == 10
    assert "RuntimeError" not in output
    assert output.splitlines()[-1] == "10 problems: 4 classes, 7 jobs, 4 calls"


def test_a_job_that_blocks_the_loop_is_named_and_ended(tmp_path: Path) -> None:
    write(
        tmp_path,
        """
    from aiotest import User, check
    check.TO_BE_CUT = 0.2

    class TestSpin(User):
        async def test_spin(self):
            while True:
                pass
    """,
    )
    code, output = run("check", "aiotestfile.py", "--timeout", 0.1, cwd=tmp_path)
    assert code == 1
    assert re.search(r"aiotestfile\.py:[78]: checking TestSpin did not come to an end within 0.5 s", output)


def test_a_user_that_waits_for_start_complete_is_let_go_and_events_are_those_of_a_run(
    tmp_path: Path, server: OneServer
) -> None:
    write(
        tmp_path,
        """
    import asyncio
    from aiotest import AsyncHttpUser, events, runners
    gate = asyncio.Semaphore(0)

    class TestSale(AsyncHttpUser):
        async def on_start(self):
            await gate.acquire()
        async def test_buy(self):
            async with self.session.get("/" + runners.global_runner.options.tenant):
                pass

    class TestOther(TestSale):
        pass

    async def on_parser(parser):
        parser.add_argument("--tenant", default="red")
        parser.add_argument("--timeout", help="the file's own, in place of ours")
    async def on_complete(user_count, runner):
        print("start_complete", user_count, type(runner).__name__)
        gate.release()
    events.init_command_line_parser += on_parser
    events.start_complete += on_complete
    async def on_init(): print("init")
    async def on_start(runner): print("test_start", runner.user_count)
    async def on_stop(runner): print("test_stop", runner.user_count)
    async def on_quit(): print("quitting")
    events.init += on_init
    events.test_start += on_start
    events.test_stop += on_stop
    events.quitting += on_quit
    """,
    )
    argv = ["check", "aiotestfile.py", "--tenant=blue", "--timeout=never", "-H", server.url]
    code, output = run(*argv, cwd=tmp_path)
    assert code == 0, output
    assert server.counts == {"/blue": 2}
    events = re.findall(r"^(?:init|test_st|start_c|quitting).*", output, re.MULTILINE)
    assert events == [
        "init",
        "test_start 0",
        "start_complete 1 LocalRunner",
        "start_complete 1 LocalRunner",
        "test_stop 0",
        "quitting",
    ]


def test_ctrl_c_ends_it_with_one_line(tmp_path: Path) -> None:
    write(
        tmp_path,
        """
    import asyncio
    from aiotest import User

    class TestSlow(User):
        async def test_slow(self):
            await asyncio.sleep(1000)
    """,
    )
    with Command("check", cwd=tmp_path) as command:
        command.until("\n  test_slow")
        command.signal(signal.SIGINT)
        assert command.end() == 1
        assert command.output.splitlines()[-1] == "aiotest: interrupted"
        assert "Traceback" not in command.output


OWN_STARTS = """
    import asyncio, random
    from aiotest import AsyncHttpUser

    class Base(AsyncHttpUser):
        async def on_start(self):
            async with self.session.get("/login"):
                pass
        async def test_a(self):
            async with self.session.get(self.prefix + "/a"):
                pass
        async def test_b(self):
            async with self.session.get(self.prefix + "/b"):
                pass

    class TestGather(Base):
        async def start(self):
            self.prefix = "/gather"
            await self.on_start()
            while True:
                await asyncio.gather(*(job(self) for job in self.jobs))

    class TestChoice(Base):
        async def start(self):
            self.prefix = "/choice"
            while True:
                await random.choice(self.jobs)(self)

    class TestByName(Base):
        jobs = [Base.test_a]
        async def test_own(self): pass
        async def start(self):
            self.prefix = "/name"
            while True:
                await self.jobs[0](self)

    class TestFails(Base):
        async def start(self):
            self.prefix = "/fails"
            await self.test_a()
            raise LookupError("nothing left")

    class TestNever(Base):
        async def start(self):
            self.prefix = "/never"
            await self.jobs[0](self)
            await asyncio.sleep(1000)
"""


def test_an_own_start_runs_until_it_has_called_each_job_once(tmp_path: Path, server: OneServer) -> None:
    write(tmp_path, OWN_STARTS)
    code, output = run("check", "aiotestfile.py", "-H", server.url, "--timeout", 1.5, cwd=tmp_path)
    assert code == 1
    problems = [line.removeprefix("problem: ") for line in output.splitlines() if "problem: " in line]
    assert problems == [
        "TestFails.start raised LookupError: nothing left (aiotestfile.py:41)",
        "TestNever.start, which was to run test_b, did not end within 1.5 s (aiotestfile.py:47)",
    ]
    assert server.counts == {
        "/login": 1,
        "/gather/a": 1,
        "/gather/b": 1,
        "/choice/a": 1,
        "/choice/b": 1,
        "/name/a": 1,
        "/fails/a": 1,
        "/never/a": 1,
    }


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["check", "absent.py"], "absent.py: no such file"),
        (["check", "-H", "http://x"], "aiotestfile.py: no such file"),
        (["check", "bad.py"], "bad.py:1: no user class"),
    ],
)
def test_a_file_that_cannot_be_used_exits_1(tmp_path: Path, argv: list[str], says: str) -> None:
    (tmp_path / "bad.py").write_text("x = 1\n")
    code, output = run(*argv, cwd=tmp_path)
    assert code == 1
    assert says in output
    assert "Traceback" not in output


def test_a_bad_option_is_refused_by_its_name(tmp_path: Path) -> None:
    write(tmp_path, USERS)
    code, output = run("check", "aiotestfile.py", "--users", 3, cwd=tmp_path)
    assert (code, "unrecognized arguments: --users 3" in output) == (1, True)
    with pytest.raises(UsageError, match="argument --timeout: `-1` is not a number of seconds above 0"):
        asyncio.run(parse_check(["--timeout=-1"], "9.9"))


def test_help_says_what_check_and_init_take(tmp_path: Path) -> None:
    code, output = run("check", "--help", cwd=tmp_path)
    assert (code, "--timeout SECONDS" in output) == (0, True)
    code, output = run("init", "--help", cwd=tmp_path)
    assert (code, "FOLDER" in output) == (0, True)
    _, output = run("--help", cwd=tmp_path)
    assert "aiotest check FILE" in output
    assert "aiotest init [FOLDER]" in output


@pytest.fixture
def target() -> Iterator[Target]:
    with running_target() as running:
        yield running


@pytest.mark.timeout(90)
def test_init_then_check_then_run_pass_as_they_are_printed(tmp_path: Path, target: Target) -> None:
    code, output = run("init", "my first/shop", cwd=tmp_path)
    assert code == 0, output
    check, carry_out = (line.partition("#")[0].split() for line in output.splitlines()[1:])
    assert check[:2] == ["aiotest", "check"]
    assert output.splitlines()[1].strip().startswith("aiotest check 'my first/shop/aiotestfile.py'")
    assert carry_out[:2] == ["aiotest", "run"]
    folder = tmp_path / "my first/shop"
    for file in ("aiotestfile.py", "loadtest.yaml"):
        text = (folder / file).read_text()
        assert text.count("http://127.0.0.1:18080") == 1
        text = text.replace("http://127.0.0.1:18080", target.url).replace("duration: 20s", "duration: 4s")
        (folder / file).write_text(text)

    code, output = run("check", "my first/shop/aiotestfile.py", cwd=tmp_path)
    assert code == 0, output
    assert re.search(r"GET +front page  \(/\)  200  \d+\.\d ms  ok", output)

    code, output = run("run", "my first/shop", "--metrics-address", "127.0.0.1:0", cwd=tmp_path)
    assert code == 0, output
    assert "kubectl create configmap shop --from-file=aiotestfile.py" in output
    assert target.counts()["total"] > 20


def test_init_overwrites_nothing_and_names_what_is_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "loadtest.yaml").write_text("mine")
    code, output = run("init", cwd=tmp_path)
    assert (code, output) == (1, "aiotest: loadtest.yaml is there already: move it, or name another folder")
    assert (tmp_path / "loadtest.yaml").read_text() == "mine"
    assert not (tmp_path / "aiotestfile.py").exists()
    (tmp_path / "file").write_text("")
    code, output = run("init", "file", cwd=tmp_path)
    assert code == 1
    assert output.startswith("aiotest: failed to write into file: ")
