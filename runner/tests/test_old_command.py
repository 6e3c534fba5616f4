"""The old command line over the new protocol: a master, two workers, and what each option brings about."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiotest import options
from command_line import Command, free_port, run, write
from one_server import OneServer, one_server
from test_command import metrics

USERS = """
    import os, time
    from aiotest import AsyncHttpUser, events, logger, runners

    class TestReader(AsyncHttpUser):
        weight = 3
        wait_time = 0.05

        async def on_start(self):
            print("reader began", time.time(), flush=True)

        async def test_ok(self):
            async with self.session.get("/ok") as resp:
                assert (await resp.json())["ok"]

    class TestBuyer(AsyncHttpUser):
        wait_time = 0.05

        async def on_start(self):
            print("buyer began", time.time(), flush=True)

        async def test_buy(self):
            async with self.session.get("/buy") as resp:
                pass

    async def on_init():
        logger.info(f"init of {type(runners.global_runner).__name__}")
    async def on_start_complete(user_count, runner):
        print("complete", type(runner).__name__, user_count, runner.user_count, runner.state, flush=True)
    async def on_report(runner, worker_id, data):
        print("report of", worker_id, flush=True)

    events.init += on_init
    events.start_complete += on_start_complete
    events.worker_report += on_report
"""


@pytest.fixture
def server() -> Iterator[OneServer]:
    with one_server() as running:
        yield running


def sent(output: str) -> int:
    """Requests sent, as the closing table has them."""
    (number,) = re.findall(r"([\d,]+) requests sent", output)
    return int(number.replace(",", ""))


@pytest.mark.timeout(90)
def test_a_master_and_two_workers_on_one_line_each(tmp_path: Path, server: OneServer) -> None:
    write(tmp_path, USERS).rename(tmp_path / "shop.py")
    (tmp_path / "secret").write_text("s3cret\n")
    port, prometheus = free_port(), free_port()
    load = ["-u", 7, "--rate", 40, "--run-time", "5s", "--expect-workers", 2]
    bind = ["--master-bind-host", "127.0.0.2", "--master-bind-port", port, "--prometheus-port", prometheus]
    more = ["-b", 1, 250, 5000, "--token-file", "secret", "-L", "warning", "--logfile", "master.log"]
    argv = ["--worker", "-H", server.url, "--master-host", "127.0.0.2", "--master-port", port]
    argv += ["--token-file", "secret"]
    with (
        Command("-f", "shop.py", "--master", *load, *bind, *more, cwd=tmp_path) as master,
        Command("-f", "shop", *argv, cwd=tmp_path) as first,
    ):
        master.until("waiting for runners: 1 of 2 are here")
        assert not server.counts, "--expect-workers: nobody starts before all are there"
        with Command("--aiotestfile", "shop.py", *argv, cwd=tmp_path) as second:
            master.until("complete")
            text = metrics(prometheus)
            codes = [first.end(), second.end(), master.end()]
    outputs = [first.output, second.output, master.output]
    assert codes == [0, 0, 0], "\n".join(outputs)
    assert sent(master.output) == sum(server.counts.values()) > 50
    # -u, by weight: 5.25 and 1.75, the leftover to the largest remainder, over both workers together.
    began = Counter(re.findall(r"^(reader|buyer) began", "\n".join(outputs), re.MULTILINE))
    assert began == {"reader": 5, "buyer": 2}
    shares = [output.count(" began") for output in outputs]
    assert sorted(shares) == [0, 3, 4]
    for output, runner, own in zip(outputs, ("Worker", "Worker", "Master"), (*shares[:2], 7), strict=True):
        assert f"complete {runner}Runner 7 {own} running" in output
    reports = Counter(re.findall(r"^report of (\S+)", master.output, re.MULTILINE))
    assert len(reports) == 2
    assert sum(reports.values()) < sent(master.output) / 4, "one a second, not one a request"
    # -b, in the histogram with the old name.
    bounds = set(re.findall(r'aiotest_response_times_bucket\{[^}]*le="([^"]+)"', text))
    assert bounds == {"1.0", "250.0", "5000.0", "+Inf"}
    # -L and --logfile: the init line is an INFO.
    assert "init of" not in master.output
    assert "init of" not in (tmp_path / "master.log").read_text()
    assert "init of WorkerRunner" in first.output


def test_the_rate_is_users_a_second_and_the_run_time_ends_the_run(tmp_path: Path, server: OneServer) -> None:
    write(tmp_path, USERS)
    argv = ["--host", server.url, "--users", 4, "-r", 2, "-t", 4, "--prometheus-port", free_port()]
    with Command(*argv, cwd=tmp_path) as command:
        assert command.end() == 0, command.output
        ended = time.time()
    began = sorted(float(at) for at in re.findall(r"began ([\d.]+)", command.output))
    assert len(began) == 4
    assert began[3] - began[0] == pytest.approx(1.5, abs=0.4)
    assert 3.5 <= ended - began[0] < 8


def test_a_rate_above_the_number_of_users_starts_them_at_once(tmp_path: Path, server: OneServer) -> None:
    write(tmp_path, USERS)
    argv = ["-H", server.url, "-u", 4, "-r", 500.5, "-t", 1, "--prometheus-port", free_port()]
    code, output = run(*argv, cwd=tmp_path)
    assert code == 0, output
    began = sorted(float(at) for at in re.findall(r"began ([\d.]+)", output))
    assert len(began) == 4
    assert began[3] - began[0] < 0.3


def test_log_lines_go_where_the_options_say(tmp_path: Path, server: OneServer) -> None:
    write(tmp_path, USERS)
    argv = ["-H", server.url, "-t", 1, "--prometheus-port", free_port()]
    code, output = run(*argv, "--logfile", "run.log", cwd=tmp_path)
    assert code == 0, output
    assert "init of LocalRunner" in (tmp_path / "run.log").read_text()
    assert "init of LocalRunner" not in output
    code, output = run(*argv, "--loglevel", "error", cwd=tmp_path)
    assert (code, "init of" in output) == (0, False), output


def test_the_default_file_and_port_are_those_that_old_files_know(tmp_path: Path) -> None:
    write(tmp_path, USERS)
    code, output = run("--show-users-weight", cwd=tmp_path)
    assert code == 0
    assert re.sub(r"\s", "", output) == '{"TestReader":3,"TestBuyer":1}'


HELD_BY = {
    "-f/--aiotestfile": "test_a_master_and_two_workers_on_one_line_each",
    "-H/--host": "test_the_rate_is_users_a_second_and_the_run_time_ends_the_run",
    "--master": "test_a_master_and_two_workers_on_one_line_each",
    "--worker": "test_a_master_and_two_workers_on_one_line_each",
    "--expect-workers": "test_a_master_and_two_workers_on_one_line_each",
    "--master-host": "test_a_master_and_two_workers_on_one_line_each",
    "--master-port": "test_a_master_and_two_workers_on_one_line_each",
    "--master-bind-host": "test_a_master_and_two_workers_on_one_line_each",
    "--master-bind-port": "test_a_master_and_two_workers_on_one_line_each",
    "-u/--users": "test_a_run_without_a_failure_exits_0_and_every_user_has_its_on_stop",
    "-r/--rate": "test_the_rate_is_users_a_second_and_the_run_time_ends_the_run",
    "-t/--run-time": "test_the_rate_is_users_a_second_and_the_run_time_ends_the_run",
    "--prometheus-port": "test_a_custom_client_is_counted_in_the_metrics",
    "-b/--buckets": "test_a_master_and_two_workers_on_one_line_each",
    "-L/--loglevel": "test_log_lines_go_where_the_options_say",
    "--logfile": "test_log_lines_go_where_the_options_say",
    "--show-users-wight/--show-users-weight": "test_the_weights_the_version_and_the_help_are_printed",
    "-V/--version": "test_the_weights_the_version_and_the_help_are_printed",
    "--processes": "test_the_old_command_spreads_its_users_over_processes",
    "--token-file": "test_a_master_and_two_workers_on_one_line_each",
    "--data-set": "test_the_old_command_takes_data_sets",
}
"""What each option brings about is shown by that test."""


def test_every_option_has_a_test_of_what_it_brings_about() -> None:
    made = options.parser("9.9")
    known = {"/".join(action.option_strings) for action in made._actions} - {"-h/--help"}
    assert known == set(HELD_BY)
    source = "\n".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    assert [name for name in HELD_BY.values() if f"def {name}(" not in source] == []
