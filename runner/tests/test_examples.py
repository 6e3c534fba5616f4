"""Every example as it stands, run by real processes, and compared with what the target counted."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from example_target import HOUSE, Target, running_target

EXAMPLES = HOUSE / "examples"
# What the manifests say; a test's own target has another port.
HOST = "http://127.0.0.1:18080"


@dataclass(frozen=True)
class Run:
    """What one run left behind."""

    code: int
    report: dict[str, Any]
    counts: dict[str, Any]

    def row(self, name: str) -> dict[str, Any]:
        """The report's row of one name; there is exactly one."""
        (row,) = (row for row in self.report["requests"] if row["name"] == name)
        assert isinstance(row, dict)
        return row


@pytest.fixture
def target() -> Iterator[Target]:
    with running_target() as running:
        yield running


def start(example: str, target: Target, folder: Path) -> subprocess.Popen[str]:
    """Start an example whose host is replaced by the target's."""
    copy = folder / example
    shutil.copytree(EXAMPLES / example, copy)
    manifest = copy / "loadtest.yaml"
    assert manifest.read_text().count(HOST) == 1
    manifest.write_text(manifest.read_text().replace(HOST, target.url))
    command = [
        sys.executable,
        "-m",
        "aiotest",
        "run",
        str(copy),
        "--report-json",
        str(folder / "report.json"),
    ]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, process_group=0
    )


def finish(process: subprocess.Popen[str], target: Target, folder: Path) -> Run:
    """Wait for the run's end and compare what holds for every run: nothing is lost, nothing counted twice."""
    try:
        output, _ = process.communicate(timeout=90)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    assert (folder / "report.json").exists(), output
    run = Run(process.returncode, json.loads((folder / "report.json").read_text()), target.counts())
    print(output)  # shown by pytest where the test fails
    total = run.report["total"]
    assert run.report["version"] == 1
    assert total["sent"] == run.counts["total"]
    assert total["sent"] == sum(row["sent"] for row in run.report["requests"])
    assert total["requests"] == sum(row["requests"] for row in run.report["requests"])
    assert run.report["gaps"] == []
    assert run.report["user_errors"] == []
    assert run.counts["connections"]["open"] == 0
    return run


def run_example(example: str, target: Target, folder: Path) -> Run:
    """Run an example to its own end; all of them pass, without a single failed request."""
    run = finish(start(example, target, folder), target, folder)
    assert run.report["verdict"]["result"] == "Passed", run.report["verdict"]
    assert run.report["total"]["failures"] == 0
    assert run.code == 0
    return run


@pytest.mark.timeout(120)
def test_quickstart_puts_fifty_users_on_each_runner(target: Target, tmp_path: Path) -> None:
    run = run_example("quickstart", target, tmp_path)
    assert run.report["users"] == {"target": 100, "peak": 100}
    assert [runner["users_peak"] for runner in run.report["runners"]] == [50, 50]
    assert run.counts["paths"] == {"/json": run.row("/json")["sent"]}
    assert run.counts["connections"]["peak"] == 100
    assert [threshold["passed"] for threshold in run.report["verdict"]["thresholds"]] == [True, True]


@pytest.mark.timeout(120)
def test_login_and_chain_logs_every_user_in_once(target: Target, tmp_path: Path) -> None:
    run = run_example("login-and-chain", target, tmp_path)
    assert run.row("/login")["sent"] == run.counts["paths"]["/login"] == 20
    assert run.row("/item/[n]")["sent"] == run.counts["paths"]["/item/{n}"]
    assert run.row("/profile")["status"] == {"200": run.row("/profile")["requests"]}


@pytest.mark.timeout(120)
def test_unique_accounts_logs_every_user_in_with_an_account_of_its_own(
    target: Target, tmp_path: Path
) -> None:
    run = run_example("unique-accounts", target, tmp_path)
    assert run.row("/login")["sent"] == run.counts["paths"]["/login"] == 20
    assert run.report["users"]["peak"] == 20
    assert run.row("own page")["requests"] > 20
    reasons = run.report["verdict"]["reasons"]
    assert not any("had to wait for a row" in reason for reason in reasons), "there are as many accounts"


@pytest.mark.timeout(120)
def test_weights_gives_three_readers_to_every_buyer(target: Target, tmp_path: Path) -> None:
    run = run_example("weights", target, tmp_path)
    assert (run.counts["paths"]["/"], run.counts["paths"]["/login"]) == (15, 5)
    assert (run.row("hello, reader")["sent"], run.row("hello, buyer")["sent"]) == (15, 5)


@pytest.mark.timeout(120)
def test_shape_ends_the_run_itself_after_its_highest_step(target: Target, tmp_path: Path) -> None:
    run = run_example("shape", target, tmp_path)
    assert run.report["users"]["peak"] == 30
    # The last step ends after 11 s; a plan takes effect 1.5 s ahead, and the shape is asked once a second.
    assert 11 <= run.report["run"]["duration_s"] <= 16


@pytest.mark.timeout(120)
def test_parallel_sends_the_parts_of_a_page_at_the_same_time(target: Target, tmp_path: Path) -> None:
    run = run_example("parallel", target, tmp_path)
    assert run.report["users"]["peak"] == 10
    assert run.counts["connections"]["peak"] > 10
    assert run.row("/picture")["bytes_received"] >= 20_000 * run.row("/picture")["requests"]
    assert run.row("/prices")["latency_ms"]["min"] >= 50


@pytest.mark.timeout(120)
def test_flash_sale_opens_for_all_users_at_once(target: Target, tmp_path: Path) -> None:
    run = run_example("flash-sale", target, tmp_path)
    assert run.row("/login")["sent"] == run.row("buy")["sent"] == 40
    # Whoever waits at the door looks at nothing: the first look follows the opening.
    assert run.row("/profile")["sent"] > 40


@pytest.mark.timeout(120)
def test_an_interrupted_run_loses_no_request_and_never_passes(target: Target, tmp_path: Path) -> None:
    process = start("quickstart", target, tmp_path)
    while target.counts()["total"] < 200 and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    run = finish(process, target, tmp_path)
    assert run.report["verdict"]["result"] == "Cancelled"
    assert any("interrupted" in reason for reason in run.report["verdict"]["reasons"])
    assert run.code == 3


def test_every_example_has_a_test_here() -> None:
    text = Path(__file__).read_text() + Path(__file__).with_name("test_systems.py").read_text()
    examples = sorted(path.parent.name for path in EXAMPLES.glob("*/loadtest.yaml"))
    assert examples
    assert [name for name in examples if f'("{name}", ' not in text] == []
