"""`aiotest -f FILE` as people run it: one process, real requests, exit codes 0 and 1."""

from __future__ import annotations

import json
import re
import signal
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import Command, free_port, run, write
from one_server import OneServer, one_server

USERS = """
    from aiotest import AsyncHttpUser, events, logger, runners

    class TestShop(AsyncHttpUser):
        wait_time = 0.02

        async def test_ok(self):
            async with self.session.get("/ok") as resp:
                assert (await resp.json())["ok"]

        async def on_stop(self):
            print("on_stop", flush=True)
"""


@pytest.fixture
def server() -> Iterator[OneServer]:
    with one_server() as running:
        yield running


def metrics(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as reply:
        text = reply.read().decode()
        assert isinstance(text, str)
        return text


def test_a_run_without_a_failure_exits_0_and_every_user_has_its_on_stop(
    tmp_path: Path, server: OneServer
) -> None:
    write(tmp_path, USERS)
    code, output = run(
        "-H", server.url, "-u", 5, "-r", 50, "-t", "2s", "--prometheus-port", free_port(), cwd=tmp_path
    )
    assert code == 0, output
    assert output.count("on_stop") == 5
    assert server.counts["/ok"] > 50


def test_failed_requests_exit_1_and_the_job_goes_on_after_the_block(
    tmp_path: Path, server: OneServer
) -> None:
    write(
        tmp_path,
        USERS
        + """
        async def test_missing(self):
            async with self.session.get("/missing") as resp:
                pass
            print("after", flush=True)
    """,
    )
    code, output = run("-H", server.url, "-r", 50, "-t", 1, "--prometheus-port", free_port(), cwd=tmp_path)
    assert code == 1, output
    assert "after" in output


def test_a_host_that_refuses_is_counted_and_the_jobs_go_on(tmp_path: Path) -> None:
    write(
        tmp_path,
        USERS.replace(
            "async def test_ok",
            "async def test_seen(self): print('seen', flush=True)\n\n        async def test_ok",
        ),
    )
    code, output = run(
        "-H",
        f"http://127.0.0.1:{free_port()}",
        "-r",
        50,
        "-t",
        1,
        "--prometheus-port",
        free_port(),
        cwd=tmp_path,
    )
    assert code == 1
    assert output.count("seen") > 1, output


def test_a_dead_user_exits_1_and_names_its_line(tmp_path: Path, server: OneServer) -> None:
    write(
        tmp_path,
        USERS
        + """
        async def test_bug(self):
            {}["token"]
    """,
    )
    code, output = run("-H", server.url, "-r", 50, "-t", 1, "--prometheus-port", free_port(), cwd=tmp_path)
    assert code == 1
    assert "TestShop died: KeyError: 'token'" in output
    assert re.search(r'aiotestfile\.py", line \d+, in test_bug', output)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("def f(:\n", "aiotestfile.py:1: syntax error"),
        ("x = 1\n", "aiotestfile.py:1: no user class"),
        ("\nimport no_such_module_here\n", "aiotestfile.py:2: failed to import: ModuleNotFoundError"),
    ],
)
def test_a_bad_file_exits_1_with_its_place(tmp_path: Path, source: str, says: str) -> None:
    write(tmp_path, source)
    code, output = run(cwd=tmp_path)
    assert code == 1
    assert says in output
    assert "Traceback" not in output


def test_two_shapes_exit_1_and_nothing_is_sent(tmp_path: Path, server: OneServer) -> None:
    shape = "    class Test{}(LoadUserShape):\n        def tick(self): return None\n"
    write(
        tmp_path,
        USERS.replace("logger,", "logger, LoadUserShape,") + "\n" + shape.format("One") + shape.format("Two"),
    )
    code, output = run("-H", server.url, cwd=tmp_path)
    assert code == 1
    assert "TestOne and TestTwo are both shapes" in output
    assert not server.counts


def test_a_missing_file_and_a_bad_option_exit_1(tmp_path: Path) -> None:
    code, output = run("-f", "absent", cwd=tmp_path)
    assert (code, "absent.py: no such file" in output) == (1, True)
    write(tmp_path, USERS)
    code, output = run("-u", "many", cwd=tmp_path)
    assert (code, "argument -u/--users: `many` is not a whole number" in output) == (1, True)


def test_ctrl_c_drains_and_a_second_one_quits(tmp_path: Path, server: OneServer) -> None:
    write(tmp_path, USERS)
    with Command(
        "-H", server.url, "-u", 3, "-r", 50, "--prometheus-port", free_port(), cwd=tmp_path
    ) as command:
        _until_served(server, 20)
        command.signal(signal.SIGINT)
        assert command.end() == 0, command.output
        assert command.output.count("on_stop") == 3

    write(
        tmp_path,
        USERS.replace(
            'print("on_stop", flush=True)',
            'print("hangs", flush=True)\n            await __import__("asyncio").sleep(1000)',
        ),
    )
    with Command("-H", server.url, "--prometheus-port", free_port(), cwd=tmp_path) as command:
        _until_served(server, server.counts["/ok"] + 5)
        command.signal(signal.SIGINT)
        command.until("hangs")
        command.signal(signal.SIGINT)
        assert command.end() == 1


def _until_served(server: OneServer, requests: int) -> None:
    with server.changed:
        assert server.changed.wait_for(lambda: server.counts["/ok"] >= requests, 20)


def test_the_events_and_the_files_own_options_are_those_of_a_local_runner(
    tmp_path: Path, server: OneServer
) -> None:
    write(
        tmp_path,
        USERS
        + """
    async def on_parser(parser):
        parser.add_argument("--tenant", default="red")
    async def on_init():
        print("init", runners.global_runner.options.tenant, flush=True)
    async def on_test_start(runner):
        print("test_start", type(runner).__name__, flush=True)
    async def on_start_complete(user_count, runner):
        print("start_complete", user_count, runner.user_count, runner.state, flush=True)
    async def on_test_stop(runner):
        print("test_stop", runner.user_count, flush=True)
    async def on_quitting():
        print("quitting", flush=True)
    async def on_stats_request(runner, request_name, request_method, response_time, response_length, error):
        assert response_time > 0
        print("request", request_name, request_method, response_length, error, flush=True)

    events.init_command_line_parser += on_parser
    events.init += on_init
    events.test_start += on_test_start
    events.start_complete += on_start_complete
    events.test_stop += on_test_stop
    events.quitting += on_quitting
    events.stats_request += on_stats_request
    """,
    )
    argv = ["--tenant=blue", "-H", server.url, "-u", 2, "-r", 10, "-t", 6, "--prometheus-port", free_port()]
    code, output = run(*argv, cwd=tmp_path)
    assert code == 0, output
    told = [line for line in output.splitlines() if re.match(r"init|test_st|start_c|quitting", line)]
    assert told == [
        "init blue",
        "test_start LocalRunner",
        "start_complete 2 2 running",
        "test_stop 0",
        "quitting",
    ]
    assert "request /ok GET 12 None" in output


def test_a_shape_gives_the_load_and_ends_the_test(tmp_path: Path, server: OneServer) -> None:
    write(
        tmp_path,
        USERS.replace("logger,", "logger, LoadUserShape,")
        + """
    class TestSteps(LoadUserShape):
        def tick(self):
            return (3, 100) if self.get_run_time() < 2 else None
    """,
    )
    code, output = run("-H", server.url, "-u", 50, "--prometheus-port", free_port(), cwd=tmp_path)
    assert code == 0, output
    assert output.count("on_stop") == 3


def test_a_custom_client_is_counted_in_the_metrics(tmp_path: Path) -> None:
    write(
        tmp_path,
        """
    from aiotest import User, events, runners
    class TestSql(User):
        wait_time = 0.05
        async def test_select(self):
            await events.stats_request.fire(
                runner=runners.global_runner, request_name="select 1", request_method="SQL",
                response_time=2.5, response_length=7, error=None)
            print("fired", flush=True)
    """,
    )
    port = free_port()
    with Command("-t", 20, "--prometheus-port", port, cwd=tmp_path) as command:
        command.until("fired", 60)
        text = metrics(port)
        assert re.search(r'aiotest_response_times_count\{[^}]*name="select 1"', text), text
        command.signal(signal.SIGTERM)
        assert command.end() == 0


def test_a_taken_port_is_told_by_its_flag(tmp_path: Path) -> None:
    write(tmp_path, USERS)
    with socket.create_server(("0.0.0.0", 0)) as taken:
        code, output = run("--prometheus-port", taken.getsockname()[1], cwd=tmp_path)
    assert code == 1
    assert "--prometheus-port" in output


def test_the_weights_the_version_and_the_help_are_printed(tmp_path: Path) -> None:
    code, output = run("--help", cwd=tmp_path)
    assert code == 0
    assert "aiotest run PATH" in output
    assert "--expect-workers" in output
    code, output = run("-V", cwd=tmp_path)
    assert code == 0
    assert re.fullmatch(r"aiotest \d+\.\d+\.\d+.*", output.strip())
    write(tmp_path, USERS.replace("wait_time", "weight = 3\n        wait_time"))
    code, output = run("--show-users-wight", cwd=tmp_path)
    assert (code, json.loads(output)) == (0, {"TestShop": 3})
