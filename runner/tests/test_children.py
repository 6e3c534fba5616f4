"""The processes that `aiotest run` starts, one by one, and the old command's master with its workers."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path
from typing import Any

import pytest
from command_line import Command, free_port, run, write
from one_server import one_server
from processes import USERS, ask, constant, master_argv, runner_argv, wait_for_json


@pytest.mark.parametrize(
    ("source", "more", "says"),
    [
        ("import no_such_module_here\n", {}, "aiotestfile.py:1: failed to import: ModuleNotFoundError"),
        ("x = 1\n", {}, "aiotestfile.py:1: no user class"),
        (USERS, {"args": ["--tenant=blue"]}, "unrecognized arguments: --tenant=blue"),
        (USERS, {"runners": 0}, "0 runners"),
    ],
)
def test_a_master_that_cannot_run_its_scenario_says_so_in_its_ready_file_and_exits_3(
    tmp_path: Path, source: str, more: dict[str, Any], says: str
) -> None:
    write(tmp_path, source)
    code, output = run(*master_argv(tmp_path, **more), cwd=tmp_path)
    assert code == 3, output
    assert says in output
    assert says in json.loads((tmp_path / "ready").read_text())["error"]


def test_a_master_and_a_runner_process_carry_out_a_plan(tmp_path: Path) -> None:
    write(tmp_path, USERS)
    with one_server() as server, Command(*master_argv(tmp_path, host=server.url), cwd=tmp_path) as master:
        ready = wait_for_json(tmp_path / "ready", master)
        argv = runner_argv(tmp_path, ready["control"], "--deposit", tmp_path / "deposit")
        with Command(*argv, cwd=tmp_path) as runner:
            assert runner.end() == 0, runner.output
            assert "start_complete WorkerRunner 4" in runner.output
            assert runner.output.count("on_stop") == 4
        master.until("start_complete MasterRunner 4")
        master.until("worker_report runner-0")
    assert server.counts["/ok"] > 20


def test_a_runner_that_is_told_to_go_hands_over_and_exits_75(tmp_path: Path) -> None:
    write(tmp_path, USERS)
    load = constant(4, 60)
    with (
        one_server() as server,
        Command(*master_argv(tmp_path, host=server.url, load=load), cwd=tmp_path) as master,
    ):
        ready = wait_for_json(tmp_path / "ready", master)
        with Command(*runner_argv(tmp_path, ready["control"]), cwd=tmp_path) as runner:
            with server.changed:
                assert server.changed.wait_for(lambda: server.counts["/ok"] > 10, 20)
            runner.signal(signal.SIGTERM)
            assert runner.end() == 75, runner.output
            assert runner.output.count("on_stop") == 4


def test_a_run_cut_in_the_middle_counts_the_same_in_target_report_and_metrics(tmp_path: Path) -> None:
    write(tmp_path, USERS.replace("wait_time = 0.02", "wait_time = 0"))
    load = constant(4, 60)
    with (
        one_server() as server,
        Command(*master_argv(tmp_path, host=server.url, load=load), cwd=tmp_path) as master,
    ):
        ready = wait_for_json(tmp_path / "ready", master)
        with Command(*runner_argv(tmp_path, ready["control"]), cwd=tmp_path) as runner:
            with server.changed:
                assert server.changed.wait_for(lambda: server.counts["/ok"] > 200, 20)
            ask("POST", ready["control"], "/v1/stop", {"reason": "interrupted"})
            assert runner.end() == 0, runner.output
        status, text = ask("GET", ready["control"], "/v1/result")
        assert status == 200
        # The result is not acknowledged yet, so the metrics are still there.
        _, metrics = ask("GET", ready["metrics"], "/metrics")
        ask("POST", ready["control"], "/v1/result/acknowledged")
        assert master.end() == 3, master.output
    report = json.loads(text)
    (sample,) = re.findall(r"^aiotest_requests_sent_total\{.*\} (\d+)", metrics, re.MULTILINE)
    assert report["total"]["sent"] == server.counts["/ok"] == int(sample) > 200
    assert (report["verdict"]["result"], report["total"]["aborted"]) == ("Cancelled", 0)


def test_the_old_command_spreads_its_users_over_processes(tmp_path: Path) -> None:
    write(tmp_path, USERS)
    with one_server() as server:
        argv = ["-f", "aiotestfile.py", "-H", server.url, "-u", 4, "-r", 50, "-t", 6, "--processes", 2]
        code, output = run(*argv, "--prometheus-port", free_port(), cwd=tmp_path)
    assert code == 0, output
    assert output.count("start_complete WorkerRunner 4") == 2, "in each process, with the count of all"
    assert output.count("on_stop") == 4
    (sent,) = re.findall(r"([\d,]+) requests sent", output)
    assert int(sent.replace(",", "")) == server.counts["/ok"] > 20


def test_the_old_commands_master_and_worker_share_the_load(tmp_path: Path) -> None:
    write(tmp_path, USERS)
    port = free_port()
    argv: list[object] = ["--master", "-u", 3, "-r", 50, "-t", 6, "--master-bind-port", port]
    with (
        one_server() as server,
        Command(*argv, "--prometheus-port", free_port(), cwd=tmp_path, token="secret") as master,
        Command("--worker", "-H", server.url, "--master-port", port, cwd=tmp_path, token="secret") as worker,
    ):
        assert worker.end() == 0, worker.output
        assert master.end() == 0, master.output
        assert "start_complete WorkerRunner 3" in worker.output
        assert "start_complete MasterRunner 3" in master.output
        assert worker.output.count("on_stop") == 3
    assert server.counts["/ok"] > 20


def test_a_master_without_a_token_listens_on_loopback_only_and_says_so(tmp_path: Path) -> None:
    write(tmp_path, USERS)
    argv = ["--master", "--master-bind-port", free_port(), "--prometheus-port", free_port()]
    with Command(*argv, cwd=tmp_path) as master:
        master.until("the master listens on 127.0.0.1 only")
        master.until("waiting for 1 workers on 127.0.0.1:")
        master.signal(signal.SIGINT)
        assert master.end() == 0, master.output
        assert not re.search(r"on 0\.0\.0\.0", master.output)


def test_a_worker_with_a_wrong_token_exits_1_and_the_master_goes_on(tmp_path: Path) -> None:
    write(tmp_path, USERS)
    port = free_port()
    argv: list[object] = [
        "--master",
        "-r",
        50,
        "-t",
        1,
        "--master-bind-port",
        port,
        "--prometheus-port",
        free_port(),
    ]
    with one_server() as server, Command(*argv, cwd=tmp_path, token="right") as master:
        master.until("waiting for 1 workers")
        with Command("--worker", "--master-port", port, cwd=tmp_path, token="wrong") as worker:
            assert worker.end() == 1, worker.output
        argv = ["--worker", "-H", server.url, "--master-port", port]
        with Command(*argv, cwd=tmp_path, token="right") as worker:
            assert worker.end() == 0, worker.output
        assert master.end() == 0, master.output
