"""What runs inside the pods of a run, with real processes on loopback: a master that leaves a termination
message, and the parents of runner processes, killed, asked to leave and left alone.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from command_line import Command, free_port, run, write
from faulty_proxy import NONE, PARTITION, FaultyProxy
from one_server import OneServer, one_server
from processes import USERS, PodMaster, ask, children, constant, plan, pod_argv, until

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def server() -> Iterator[OneServer]:
    with one_server() as started:
        yield started


@contextmanager
def started(folder: Path, *names: str, **more: Any) -> Iterator[tuple[PodMaster, dict[str, Command]]]:
    """A master and a pod of each name, with a plan of a minute unless it says otherwise."""
    with ExitStack() as stack:
        spec: dict[str, Any] = {"load": constant(4, 60), "runners": len(names)} | more
        master = stack.enter_context(PodMaster(folder, **spec))
        pods = {
            name: stack.enter_context(Command(*pod_argv(folder, master.control, name), cwd=folder))
            for name in names
        }
        yield master, pods


def zombies(pid: int) -> list[str]:
    """Children that have ended and that nobody has taken note of."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, rest = stat.read_text().rsplit(")", 1)
        except OSError:
            continue
        if rest.split()[:2] == ["Z", str(pid)]:
            found.append(name)
    return found


def test_a_run_in_pods_ends_with_the_verdict_in_the_masters_termination_message(
    server: OneServer, tmp_path: Path
) -> None:
    write(tmp_path, USERS)
    more = {"host": server.url, "load": constant(4, 4), "processes_per_runner": 2}
    with started(tmp_path, "shop-1-runner-0-abcde", **more) as (master, pods):
        (pod,) = pods.values()
        assert pod.end() == 0, pod.output
        ended = master.termination()["ended"]
        assert (ended["result"], ended["exit_code"]) == ("Passed", 0)
        result = master.result()
        assert result["verdict"]["result"] == "Passed"
        assert result["total"]["sent"] == master.sent() == server.counts["/ok"] > 20
        assert [(runner["id"], runner["processes"]) for runner in result["runners"]] == [
            ("shop-1-runner-0-abcde", 2)
        ]
        master.command.until("4 of 4 users")
        assert master.end() == 0, master.command.output
    assert "Passed" in master.command.output.splitlines(), "its log tells how the run went"
    assert pod.output.count("on_stop") == 4, "what the processes print is the pod's log"


def test_a_killed_process_of_a_pod_is_replaced_at_once_and_the_gap_is_bounded(
    server: OneServer, tmp_path: Path
) -> None:
    write(tmp_path, USERS)
    with started(tmp_path, "pod-a", host=server.url, processes_per_runner=2) as (master, pods):
        pod = pods["pod-a"]
        until("all users are live", lambda: master.users() == 4)
        victim, argv = sorted(children(pod.pid).items())[0]
        os.kill(victim, signal.SIGKILL)
        until("the master knows", lambda: master.users() < 4, within=5)
        assert until("all users are live again", lambda: master.users() == 4, within=5) < 5
        until("the process is back", lambda: len(children(pod.pid)) == 2)
        assert victim not in children(pod.pid)
        lives = [int(words[words.index("--incarnation") + 1]) for words in children(pod.pid).values()]
        assert max(lives) == min(lives) + 1 == int(argv[argv.index("--incarnation") + 1]) + 1
        pod.until("killed by signal 9")
        stop(master)
        assert pod.end() == 0, pod.output
        result = master.result()
        (gap,) = result["gaps"]
        assert gap["runner"] == "pod-a"
        assert 0 <= server.counts["/ok"] - result["total"]["sent"] <= gap["lost_at_most"]


def stop(master: PodMaster) -> None:
    """End the load, as an operator does."""
    ask("POST", master.control, "/v1/stop", {"reason": "stopped"})


def test_a_pod_that_is_asked_to_leave_exits_75_and_its_users_are_elsewhere_within_five_seconds(
    server: OneServer, tmp_path: Path
) -> None:
    write(tmp_path, USERS)
    with started(tmp_path, "pod-a", "pod-b", host=server.url, processes_per_runner=2) as (master, pods):
        until("all users are live", lambda: master.users() == 4)
        asked = time.monotonic()
        pods["pod-a"].signal(signal.SIGTERM)
        assert pods["pod-a"].end() == 75, pods["pod-a"].output
        until("the others have its users", lambda: master.users() == 4)
        assert time.monotonic() - asked < 5
        assert pods["pod-a"].output.count("on_stop") == 2
        stop(master)
        assert pods["pod-b"].end() == 0, pods["pod-b"].output
        result = master.result()
        assert result["total"]["sent"] == master.sent() == server.counts["/ok"] > 20
        assert result["total"]["aborted"] == 0


def test_a_pod_that_leaves_starts_no_call_any_more_and_lets_open_ones_end(
    server: OneServer, tmp_path: Path
) -> None:
    write(tmp_path, USERS.replace('"/ok"', '"/held"'))
    with started(tmp_path, "pod-a", host=server.url) as (master, pods):
        until("every user is in a call", lambda: server.counts["/held"] == 4)
        pods["pod-a"].signal(signal.SIGTERM)
        pods["pod-a"].until("asked to leave")
        until("the master knows", lambda: "draining" in str(master.scrape()) or master.users() == 4)
        server.release.set()
        assert pods["pod-a"].end() == 75, pods["pod-a"].output
        stop(master)
        result = master.result()
        assert (server.counts["/held"], result["total"]["requests"]) == (4, 4)


def test_a_terminated_master_ends_the_load_and_leaves_its_verdict(server: OneServer, tmp_path: Path) -> None:
    write(tmp_path, USERS)
    with started(tmp_path, "pod-a", host=server.url) as (master, pods):
        until("all users are live", lambda: master.users() == 4)
        master.command.signal(signal.SIGTERM)
        assert pods["pod-a"].end() == 0, pods["pod-a"].output
        assert master.termination()["ended"]["result"] == "Cancelled"
        assert master.result()["total"]["sent"] == server.counts["/ok"]
        master.command.signal(signal.SIGTERM)
        assert master.command.end() == 0, "whoever asks twice does not want to wait"


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("from aiotest import User\n\nclass TestShop(User)\n    pass\n", "aiotestfile.py:3: syntax error"),
        ("import no_such_module_here\n", "aiotestfile.py:1: failed to import: ModuleNotFoundError"),
        ("import helper\n", "helper.py:2: syntax error"),
        (USERS, "unrecognized arguments: --tenant=blue"),
    ],
)
def test_a_refused_scenario_is_the_termination_message_and_exits_0(
    tmp_path: Path, source: str, says: str
) -> None:
    write(tmp_path, source)
    (tmp_path / "helper.py").write_text("x = 1\ndef f(:\n")
    with PodMaster(tmp_path, args=["--tenant=blue"] if source == USERS else []) as master:
        began = time.monotonic()
        error = master.termination()["refused"]["error"]
        assert error.startswith(says), error
        assert master.command.end() == 0
        assert time.monotonic() - began < 10
        assert f"aiotest: {says}" in master.command.output


@pytest.mark.parametrize(
    "hangs",
    ["while True:\n    pass", "import time\ntime.sleep(3600)", "import threading\nthreading.Event().wait()"],
)
def test_a_file_that_never_ends_being_read_is_refused_with_its_line(tmp_path: Path, hangs: str) -> None:
    write(tmp_path, f"import helper\n{hangs}\n")
    (tmp_path / "helper.py").write_text("x = 1\n")
    with PodMaster(tmp_path, deadlines={"startup": 2_000_000}) as master:
        error = master.termination()["refused"]["error"]
        assert re.match(r"aiotestfile.py:[23]: reading the file did not come to an end within 2 s", error)
        assert master.command.end() == 0


def test_places_are_told_as_the_author_knows_them_however_the_kubelet_lays_the_files(tmp_path: Path) -> None:
    mount = tmp_path / "source"
    (mount / "..2026_11_22").mkdir(parents=True)
    (mount / "..data").symlink_to("..2026_11_22")
    for name, source in (("aiotestfile.py", "import helper\n"), ("helper.py", "x = 1\n\ndef f(:\n")):
        (mount / "..data" / name).write_text(source)
        (mount / name).symlink_to(f"..data/{name}")
    with PodMaster(tmp_path, aiotestfile=str(mount / "aiotestfile.py")) as master:
        assert master.termination()["refused"]["error"].startswith("helper.py:3: syntax error")


def test_a_termination_message_is_never_longer_than_the_kubelet_reads(tmp_path: Path) -> None:
    write(tmp_path, f"raise ValueError('{'x' * 9000}')\n")
    with PodMaster(tmp_path) as master:
        assert len((tmp_path / "termination").read_bytes()) <= 4096
        assert master.termination()["refused"]["error"].startswith("aiotestfile.py:1: failed to import")


def test_a_pod_whose_master_never_comes_gives_up_at_the_startup_deadline(tmp_path: Path) -> None:
    write(tmp_path, USERS)
    plan(tmp_path, deadlines={"startup": 2_000_000})
    code, output = run(*pod_argv(tmp_path, f"127.0.0.1:{free_port()}", "pod-a"), cwd=tmp_path)
    assert code == 3, output
    assert "no master answered" in output
    assert "is not started again" in output


def test_a_pod_with_another_runs_token_says_so_and_ends(tmp_path: Path) -> None:
    write(tmp_path, USERS)
    with PodMaster(tmp_path) as master:
        until("it listens", lambda: master.users() == 0)
        (tmp_path / "token").write_text("of-another-run")
        code, output = run(*pod_argv(tmp_path, master.control, "pod-a"), cwd=tmp_path)
    assert code == 3, output
    assert "refused the token" in output


def test_what_a_scenario_leaves_behind_is_taken_note_of(server: OneServer, tmp_path: Path) -> None:
    left = """
        import subprocess, sys
        if "runner" in sys.argv:
            subprocess.run(["sh", "-c", "setsid sleep 0.5 & setsid sleep 300 &"])
            print("left behind", flush=True)
    """
    write(tmp_path, dedent(left) + dedent(USERS))
    with started(tmp_path, "pod-a", host=server.url) as (_master, pods):
        pod = pods["pod-a"]
        pod.until("left behind")

        def orphans() -> list[list[str]]:
            return [words for words in children(pod.pid).values() if words[0] == "sleep"]

        until("what is left behind is the pod's own", lambda: bool(orphans()))
        until("one has ended and is no zombie", lambda: len(orphans()) == 1 and not zombies(pod.pid))
        for pid, words in children(pod.pid).items():
            if words[0] == "sleep":
                os.kill(pid, signal.SIGKILL)
        until("nor is the other", lambda: not orphans() and not zombies(pod.pid))


def test_a_killed_master_goes_on_where_it_was_and_every_request_is_counted(
    server: OneServer, tmp_path: Path
) -> None:
    write(tmp_path, USERS)
    with started(tmp_path, "pod-a", "pod-b", host=server.url, load=constant(4, 12)) as (master, pods):
        until("all users are live", lambda: master.users() == 4)
        master.die()
        before = server.counts["/ok"]
        until("the load goes on without it", lambda: server.counts["/ok"] > before + 20)
        master.start_again()
        until("it knows its runners again", lambda: master.users() == 4)
        for pod in pods.values():
            assert pod.end() == 0, pod.output
        assert master.termination()["ended"]["result"] == "Passed", master.command.output
        result = master.result()
        assert result["total"]["sent"] == master.sent() == server.counts["/ok"] > 200
        assert (result["users"], result["gaps"]) == ({"target": 4, "peak": 4}, [])
        assert master.end() == 0, master.command.output


def test_load_stops_at_the_dead_man_time_and_goes_on_when_the_master_is_back(
    server: OneServer, tmp_path: Path
) -> None:
    write(tmp_path, USERS)
    more: dict[str, Any] = {"host": server.url, "load": constant(4, 60), "dead_man": 3_000_000}
    with ExitStack() as stack:
        master = stack.enter_context(PodMaster(tmp_path, **more))
        proxy = stack.enter_context(FaultyProxy(master.control))
        pod = stack.enter_context(Command(*pod_argv(tmp_path, proxy.address, "pod-a"), cwd=tmp_path))
        until("all users are live", lambda: master.users() == 4)
        proxy.set(PARTITION)
        cut = time.monotonic()
        last = [server.counts["/ok"], cut]

        def is_quiet() -> bool:
            if server.counts["/ok"] != last[0]:
                last[:] = server.counts["/ok"], time.monotonic()
            return time.monotonic() - last[1] > 2.0

        until("there is no load", is_quiet, within=10)
        assert 0.5 < last[1] - cut < 4, "the load goes on without its master, for the dead-man time"
        quiet = server.counts["/ok"]
        proxy.set(NONE)
        until("there is load again", lambda: server.counts["/ok"] > quiet + 20, within=15)
        stop(master)
        assert pod.end() == 0, pod.output
        result = master.result()
        assert result["total"]["sent"] == server.counts["/ok"]
        assert len(result["gaps"]) == 1
