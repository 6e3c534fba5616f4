"""What a scenario does once in a run: before its load and after it, over any number of processes and over
deaths of the master.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiotest import ClientSession, _native, events, measure, record
from aiotest.client import current_scope
from command_line import Command, free_port, run, write
from one_server import OneServer, one_server
from processes import (
    PodMaster,
    ask,
    constant,
    master_argv,
    pod_argv,
    result,
    runner_argv,
    until,
    wait_for_json,
)

pytestmark = pytest.mark.timeout(120)

SHOP = """
    from aiotest import AsyncHttpUser, ClientSession, events, measure, record

    class TestShop(AsyncHttpUser):
        wait_time = 0.02

        async def test_ok(self):
            await self.session.get("/ok")

    async def call(path, runner):
        print(path, type(runner).__name__, flush=True)
        async with ClientSession(runner.options.host) as session:
            async with session.get(path) as reply:
                assert reply.status == 200, f"{path} answers {reply.status}"
"""
HOOKS = (
    SHOP
    + """
    async def prepare(runner):
        await call("/setup", runner)
        async with measure("prepare"):
            await record("prepare", seconds=1)

    async def clean_up(runner):
        await call("/teardown", runner)

    events.run_setup += prepare
    events.run_teardown += clean_up
"""
)
BAD_SETUP = (
    SHOP
    + """
    async def prepare(runner):
        await call("/missing", runner)

    async def clean_up(runner):
        print("cleaning up", flush=True)

    events.run_setup += prepare
    events.run_teardown += clean_up
"""
)
BAD_TEARDOWN = (
    SHOP
    + """
    async def fail():
        raise KeyError("tenant")

    async def clean_up(runner):
        await call("/teardown", runner)

    events.run_teardown += fail
    events.run_teardown += clean_up
"""
)
HELD_SETUP = HOOKS.replace('"/setup"', '"/held"')


@pytest.fixture
def server() -> Iterator[OneServer]:
    with one_server() as started:
        yield started


def of_hooks(reasons: list[str]) -> list[str]:
    """Those that are about the hooks: a runner on a busy machine is marked for that, too."""
    return [reason for reason in reasons if "setup" in reason or "teardown" in reason]


def is_between(server: OneServer) -> bool:
    """Whether all load came after the setup and before the teardown."""
    load = server.stamps["/ok"]
    return max(server.stamps["/setup"]) < min(load) <= max(load) < min(server.stamps["/teardown"])


def test_over_two_runners_both_are_carried_out_once_by_the_master_and_are_in_no_figure(
    server: OneServer, tmp_path: Path
) -> None:
    write(tmp_path, HOOKS)
    more: dict[str, Any] = {"host": server.url, "load": constant(4, 3), "runners": 2}
    with Command(*master_argv(tmp_path, **more), cwd=tmp_path) as master:
        control = wait_for_json(tmp_path / "ready", master)["control"]
        with (
            Command(*runner_argv(tmp_path, control), cwd=tmp_path) as one,
            Command(*runner_argv(tmp_path, control, "--id", "runner-1"), cwd=tmp_path) as other,
        ):
            assert (one.end(), other.end()) == (0, 0), one.output + other.output
        report = result(control)
        ask("POST", control, "/v1/result/acknowledged")
        assert master.end() == 0, master.output
    assert "/setup MasterRunner" in master.output
    assert (server.counts["/setup"], server.counts["/teardown"]) == (1, 1)
    assert is_between(server)
    assert [row["name"] for row in report["requests"]] == ["/ok"]
    assert report["total"]["sent"] == server.counts["/ok"] > 20
    assert (report["verdict"]["result"], of_hooks(report["verdict"]["reasons"])) == ("Passed", [])


def test_in_one_process_they_are_carried_out_once_and_are_in_no_figure(
    server: OneServer, tmp_path: Path
) -> None:
    write(tmp_path, HOOKS)
    argv = ["-f", "aiotestfile.py", "-H", server.url, "-u", 4, "-r", 50, "-t", 3]
    code, output = run(*argv, "--prometheus-port", free_port(), cwd=tmp_path)
    assert code == 0, output
    assert "/setup LocalRunner" in output
    assert (server.counts["/setup"], server.counts["/teardown"]) == (1, 1)
    assert is_between(server)
    (sent,) = re.findall(r"([\d,]+) requests sent", output)
    assert int(sent.replace(",", "")) == server.counts["/ok"] > 20


def test_a_setup_that_fails_keeps_the_run_from_starting_and_names_the_line(
    server: OneServer, tmp_path: Path
) -> None:
    path = write(tmp_path, BAD_SETUP)
    line = (
        path.read_text()
        .splitlines()
        .index('            assert reply.status == 200, f"{path} answers {reply.status}"')
        + 1
    )
    with Command(*master_argv(tmp_path, host=server.url), cwd=tmp_path) as master:
        control = wait_for_json(tmp_path / "ready", master)["control"]
        with Command(*runner_argv(tmp_path, control), cwd=tmp_path) as runner:
            assert runner.end() == 0, runner.output
        verdict = result(control)["verdict"]
        ask("POST", control, "/v1/result/acknowledged")
        assert master.end() == 3, master.output
    said = f"the setup of the run failed: AssertionError: /missing answers 404 (aiotestfile.py:{line})"
    assert (verdict["result"], verdict["reasons"]) == ("NotStarted", [said])
    assert server.counts["/ok"] == 0
    assert "cleaning up" not in master.output


def test_a_teardown_that_fails_is_said_and_the_others_are_carried_out(
    server: OneServer, tmp_path: Path
) -> None:
    write(tmp_path, BAD_TEARDOWN)
    with Command(*master_argv(tmp_path, host=server.url, load=constant(2, 2)), cwd=tmp_path) as master:
        control = wait_for_json(tmp_path / "ready", master)["control"]
        with Command(*runner_argv(tmp_path, control), cwd=tmp_path) as runner:
            assert runner.end() == 0, runner.output
        verdict = result(control)["verdict"]
        ask("POST", control, "/v1/result/acknowledged")
        assert master.end() == 0, master.output
    (reason,) = of_hooks(verdict["reasons"])
    assert re.fullmatch(r"the teardown of the run failed: KeyError: 'tenant' \(aiotestfile.py:\d+\)", reason)
    assert server.counts["/teardown"] == 1
    assert "a handler of `run_teardown` raised" in master.output


def test_a_master_that_is_killed_after_the_setup_does_not_set_up_again(
    server: OneServer, tmp_path: Path
) -> None:
    write(tmp_path, HOOKS)
    more: dict[str, Any] = {"host": server.url, "load": constant(4, 8)}
    with (
        PodMaster(tmp_path, **more) as master,
        Command(*pod_argv(tmp_path, master.control, "a"), cwd=tmp_path) as pod,
    ):
        until("the load is on", lambda: server.counts["/ok"] > 10)
        master.die()
        master.start_again()
        assert pod.end() == 0, pod.output
        report = master.result()
        assert master.end() == 0, master.command.output
    assert (server.counts["/setup"], server.counts["/teardown"]) == (1, 1)
    assert is_between(server)
    assert of_hooks(report["verdict"]["reasons"]) == []
    assert report["total"]["sent"] == server.counts["/ok"]


def test_a_setup_that_its_master_did_not_live_to_end_is_carried_out_again_and_said_to_be(
    server: OneServer, tmp_path: Path
) -> None:
    write(tmp_path, HELD_SETUP)
    more: dict[str, Any] = {"host": server.url, "load": constant(4, 3)}
    with (
        PodMaster(tmp_path, **more) as master,
        Command(*pod_argv(tmp_path, master.control, "a"), cwd=tmp_path) as pod,
    ):
        until("the setup has begun", lambda: server.counts["/held"] == 1)
        master.die()
        assert server.counts["/ok"] == 0
        master.start_again()
        until("it has begun again", lambda: server.counts["/held"] == 2)
        server.release.set()
        assert pod.end() == 0, pod.output
        reasons = master.result()["verdict"]["reasons"]
        assert master.end() == 0, master.command.output
    again = (
        "the setup of the run had begun and not ended when the master was killed, and was carried out again"
    )
    assert of_hooks(reasons) == [again]
    assert (server.counts["/held"], server.counts["/teardown"]) == (2, 1)


def test_a_run_that_is_stopped_in_its_setup_ends_without_load(server: OneServer, tmp_path: Path) -> None:
    write(tmp_path, HELD_SETUP)
    with Command(*master_argv(tmp_path, host=server.url), cwd=tmp_path) as master:
        control = wait_for_json(tmp_path / "ready", master)["control"]
        with Command(*runner_argv(tmp_path, control), cwd=tmp_path) as runner:
            until("the setup has begun", lambda: server.counts["/held"] == 1)
            ask("POST", control, "/v1/stop", {"reason": "interrupted"})
            assert runner.end() == 0, runner.output
        verdict = result(control)["verdict"]
        ask("POST", control, "/v1/result/acknowledged")
        assert master.end() == 3, master.output
    assert verdict["reasons"] == ["interrupted before the load started"]
    assert (server.counts["/ok"], server.counts["/teardown"]) == (0, 0)


def test_a_check_carries_both_out_and_shows_none_of_their_calls(server: OneServer, tmp_path: Path) -> None:
    write(tmp_path, HOOKS)
    code, output = run("check", "aiotestfile.py", "--host", server.url, cwd=tmp_path)
    assert code == 0, output
    assert (server.counts["/setup"], server.counts["/teardown"]) == (1, 1)
    assert is_between(server)
    assert ", 1 call" in output
    write(tmp_path, BAD_SETUP)
    code, output = run("check", "aiotestfile.py", "--host", server.url, cwd=tmp_path)
    assert code == 1
    assert "problem: the handlers of `run_setup`: AssertionError: /missing answers 404" in output


def test_a_call_that_is_none_of_the_load_is_told_to_nobody_and_its_session_may_be_a_users_later(
    server: OneServer,
) -> None:
    told: list[str] = []

    async def hear(request_name: str) -> None:
        told.append(request_name)

    async def prepare() -> ClientSession:
        current_scope.set(_native.UserScope(unmeasured=True))
        session = ClientSession(server.url)
        with pytest.raises(KeyError):
            async with session.get("/setup"):
                raise KeyError("tenant")
        with pytest.raises(ValueError, match="broken"):
            async with measure("setup"):
                raise ValueError("broken")
        await record("setup", seconds=1)
        return session

    async def main() -> None:
        events.stats_request += hear
        session = await asyncio.create_task(prepare())
        await (await session.get("/ok")).read()
        await session.close()

    _native.take_statistics_json()
    asyncio.run(main())
    rows = json.loads(_native.take_statistics_json())["rows"]
    assert [(row["name"], row["requests"]) for row in rows] == [("/ok", 1)]
    assert told == ["/ok"]
    assert (server.counts["/setup"], server.counts["/ok"]) == (1, 1)
