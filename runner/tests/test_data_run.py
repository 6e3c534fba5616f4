"""Unique accounts over real processes: what the server sees of who uses which, also when processes die."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command_line import Command, free_port, run, write
from manifest_run import run as run_manifest
from manifest_run import write_manifest
from one_server import OneServer, one_server
from processes import children, constant, until
from test_pod import started, stop

pytestmark = pytest.mark.timeout(120)

USERS = """
    import os, uuid
    from aiotest import AsyncHttpUser, data

    accounts = data("accounts")

    class TestOwner(AsyncHttpUser):
        wait_time = 0.25

        async def on_start(self):
            self.account = (await accounts.take())["user"]
            self.me = f"{self.account}/{os.getpid()}-{uuid.uuid4().hex[:8]}"
            await self.test_use()

        async def test_use(self):
            async with self.session.get(f"/{self.me}", name="account") as reply:
                await reply.read()

        async def on_stop(self):
            if hasattr(self, "me"):
                await self.test_use()
"""


class Log(Counter[str]):
    """Counts by path, and which path was asked for when."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[float, str]] = []

    def __setitem__(self, path: str, count: int) -> None:
        self.lines.append((time.monotonic(), path))
        super().__setitem__(path, count)

    def users(self) -> dict[str, list[str]]:
        """The users of each account, in the order in which they came; and nobody is there twice, with another
        in between.
        """
        found: defaultdict[str, list[str]] = defaultdict(list)
        for _, path in list(self.lines):
            _, account, user = path.split("/")
            users = found[account]
            if user not in users:
                users.append(user)
            assert users[-1] == user, f"{account} is used by {user} after {users[-1]} came"
        return found


@pytest.fixture
def server() -> Iterator[OneServer]:
    with one_server() as running:
        running.counts = Log()
        yield running


def log_of(server: OneServer) -> Log:
    assert isinstance(server.counts, Log)
    return server.counts


def accounts(folder: Path, rows: int, name: str = "accounts.csv") -> Path:
    file = folder / name
    file.write_text("user,password\n" + "".join(f"u{row},secret\n" for row in range(rows)))
    return file


def pods_data(folder: Path, rows: int) -> list[dict[str, Any]]:
    return [{"name": "accounts", "policy": "Unique", "file": str(accounts(folder, rows))}]


def manifest(folder: Path, server: OneServer, rows: int, users: int, **data: Any) -> Path:
    """A load test over two runners, with so many accounts beside it."""
    load = {"constant": {"users": users, "spawnRate": 100, "duration": "9s"}}
    spec = [{"name": "accounts", "configMap": {"name": "rows", "key": "accounts.csv"}} | data]
    made = write_manifest(folder, USERS, host=server.url, load=load, data=spec)
    accounts(made, rows)
    return made


def test_two_hundred_users_over_two_runners_have_two_hundred_accounts(
    server: OneServer, tmp_path: Path
) -> None:
    ended = run_manifest(tmp_path, manifest(tmp_path, server, 200, 200))
    assert ended.code == 0, ended.err
    assert (ended.told["users"]["peak"], ended.told["user_errors"]) == (200, [])
    users = log_of(server).users()
    assert {account: len(owners) for account, owners in users.items()} == {f"u{row}": 1 for row in range(200)}
    processes = {owner.split("-")[0] for owners in users.values() for owner in owners}
    assert len(processes) == 2
    assert sum(server.counts.values()) == ended.told["total"]["sent"]


def test_who_finds_no_account_is_told_so_where_the_end_is_to_stop(server: OneServer, tmp_path: Path) -> None:
    ended = run_manifest(tmp_path, manifest(tmp_path, server, 10, 12, atEnd="Stop"))
    (error,) = ended.told["user_errors"]
    assert error["count"] == 2
    assert error["error"].startswith(
        "DataExhausted: no row of `accounts` is left: it has 10, and all are in use (aiotestfile.py:11)"
    )
    assert ended.told["verdict"]["result"] != "Passed"
    assert {len(owners) for owners in log_of(server).users().values()} == {1}
    assert len(log_of(server).users()) == 10


def test_who_finds_no_account_waits_and_the_report_says_so(server: OneServer, tmp_path: Path) -> None:
    ended = run_manifest(tmp_path, manifest(tmp_path, server, 10, 12))
    assert (ended.code, ended.told["user_errors"]) == (0, []), ended.err
    said = "users had to wait for a row of the data set `accounts`: all of its 10 were in use"
    assert said in ended.told["verdict"]["reasons"]
    assert said in ended.err
    assert len(log_of(server).users()) == 10


def test_accounts_of_a_killed_runner_go_to_others_after_its_death(server: OneServer, tmp_path: Path) -> None:
    write(tmp_path, USERS)
    more = {"host": server.url, "load": constant(20, 60), "data": pods_data(tmp_path, 20)}
    with started(tmp_path, "pod-a", "pod-b", **more) as (master, pods):
        until("every account has a user", lambda: len(log_of(server).users()) == 20)
        (killed,) = children(pods["pod-b"].pid)
        theirs = {account for account, (owner,) in log_of(server).users().items() if is_of(owner, killed)}
        assert 0 < len(theirs) < 20
        died = time.monotonic()
        os.kill(killed, signal.SIGKILL)
        until("their accounts are used again", lambda: had_another(server, theirs))
        users = log_of(server).users()
        for account in theirs:
            first = next(at for at, path in log_of(server).lines if path == f"/{account}/{users[account][1]}")
            assert died < first
        until("all users are live", lambda: master.users() == 20)
        stop(master)
        assert [pod.end() for pod in pods.values()] == [0, 0]
        assert master.result()["user_errors"] == []
        log_of(server).users()


@pytest.mark.long
def test_accounts_of_a_runner_whose_end_nobody_saw_come_back_after_the_dead_man_time(
    server: OneServer, tmp_path: Path
) -> None:
    write(tmp_path, USERS)
    more = {"host": server.url, "load": constant(20, 90), "data": pods_data(tmp_path, 20)}
    with started(tmp_path, "pod-a", "pod-b", **more) as (master, pods):
        until("every account has a user", lambda: len(log_of(server).users()) == 20)
        (killed,) = children(pods["pod-b"].pid)
        theirs = {account for account, (owner,) in log_of(server).users().items() if is_of(owner, killed)}
        died = time.monotonic()
        # With its parent, as with its machine.
        pods["pod-b"].signal(signal.SIGKILL)
        os.kill(killed, signal.SIGKILL)
        until("their accounts are used again", lambda: had_another(server, theirs), within=60)
        users = log_of(server).users()
        again = [f"/{account}/{users[account][1]}" for account in theirs]
        # The last report may be a second old, and the rest is the dead-man time and the users' to end.
        assert min(at for at, path in log_of(server).lines if path in again) - died > 19
        stop(master)
        assert pods["pod-a"].end() == 0
        assert master.result()["user_errors"] == []


def is_of(owner: str, pid: int) -> bool:
    return owner.split("-")[0] == str(pid)


def had_another(server: OneServer, accounts: set[str]) -> bool:
    """Whether each of these accounts has had a second user."""
    users = log_of(server).users()
    return all(len(users[account]) > 1 for account in accounts)


def test_a_killed_master_that_comes_back_gives_no_account_twice(server: OneServer, tmp_path: Path) -> None:
    write(tmp_path, USERS)
    more = {"host": server.url, "load": constant(20, 60), "data": pods_data(tmp_path, 20)}
    with started(tmp_path, "pod-a", "pod-b", **more) as (master, pods):
        until("every account has a user", lambda: len(log_of(server).users()) == 20)
        master.die()
        master.start_again()
        until("it is back", lambda: master.users() == 20)
        # Its users go to the other runner, which needs their accounts.
        pods["pod-a"].signal(signal.SIGTERM)
        assert pods["pod-a"].end() == 75, pods["pod-a"].output
        until("every account has a user again", lambda: sum(map(len, log_of(server).users().values())) == 30)
        stop(master)
        assert pods["pod-b"].end() == 0, pods["pod-b"].output
        result = master.result()
        assert (result["user_errors"], result["gaps"]) == ([], [])
        assert {len(owners) for owners in log_of(server).users().values()} == {1, 2}


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (
            "user,password\nada\n",
            "a.csv:2: data set `accounts`: 1 field where the header has 2 (user, password)",
        ),
        ("", "a.csv:1: data set `accounts`: the file is empty"),
        ("user\n", "a.csv:1: data set `accounts`: there is a header and no row beneath it"),
    ],
)
def test_bad_rows_are_told_with_their_line_and_nothing_is_sent(
    server: OneServer, tmp_path: Path, rows: str, said: str
) -> None:
    data = [{"name": "accounts", "configMap": {"name": "rows", "key": "a.csv"}}]
    made = write_manifest(tmp_path, USERS, host=server.url, data=data)
    config_map = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "rows"},
        "data": {"a.csv": rows},
    }
    (made / "rows.yaml").write_text(json.dumps(config_map))
    ended = run_manifest(tmp_path, made)
    assert (ended.code, ended.report) == (3, None), ended.err
    assert f"aiotest: {said}" in ended.err
    assert "no request was sent" in ended.err
    assert not server.counts


def test_a_data_set_that_is_nowhere_is_told_by_its_field_or_by_the_line_that_asks(
    server: OneServer, tmp_path: Path
) -> None:
    data = [{"name": "accounts", "configMap": {"name": "rows", "key": "a.csv"}}]
    ended = run_manifest(tmp_path, write_manifest(tmp_path, USERS, host=server.url, data=data))
    assert ended.code == 3
    assert "spec.data[0].configMap: there is no ConfigMap `rows`" in ended.err
    (tmp_path / "other").mkdir()
    ended = run_manifest(tmp_path / "other", write_manifest(tmp_path / "other", USERS, host=server.url))
    assert ended.code == 3
    assert re.search(
        r"aiotestfile\.py:5: failed to import: LookupError: no data set is called 'accounts': there is none",
        ended.err,
    )
    assert not server.counts


def test_the_old_command_takes_data_sets(server: OneServer, tmp_path: Path) -> None:
    write(tmp_path, USERS)
    accounts(tmp_path, 3)
    argv = ["--host", server.url, "-u", 3, "-r", 3, "-t", 4, "--prometheus-port", free_port()]
    code, output = run(*argv, "--data-set", "accounts=accounts.csv:unique", cwd=tmp_path)
    assert code == 0, output
    assert {account: len(owners) for account, owners in log_of(server).users().items()} == {
        f"u{row}": 1 for row in range(3)
    }
    for wrong, said in [
        ("accounts", "argument --data-set: `accounts` is not NAME=FILE"),
        ("accounts=b.csv", "b.csv: data set `accounts`: there is no such file: /"),
        ("accounts=accounts.csv:uniqe", "the file's name must end in .csv or .jsonl"),
    ]:
        code, output = run(*argv, "--data-set", wrong, cwd=tmp_path)
        assert (code, said in output) == (1, True), output
    code, output = run(*argv, *["--data-set", "accounts=accounts.csv"] * 2, cwd=tmp_path)
    assert (code, "argument --data-set: `accounts` is given twice" in output) == (1, True), output


def test_a_worker_with_another_file_is_refused_by_name(server: OneServer, tmp_path: Path) -> None:
    write(tmp_path, USERS)
    accounts(tmp_path, 3)
    accounts(tmp_path, 2, "others.csv")
    port = free_port()
    load = ["-u", 2, "-r", 2, "-t", 3, "--prometheus-port", free_port()]
    ours = ["--data-set", "accounts=accounts.csv"]
    with Command("--master", *load, *ours, "--master-bind-port", port, cwd=tmp_path) as master:
        worker = ["--worker", "-H", server.url, "--master-port", port, "--data-set"]
        code, output = run(*worker, "accounts=others.csv", cwd=tmp_path)
        assert code == 1, output
        assert re.search(
            r"the runner's data set `accounts` has 2 rows \(\w{16}\), the master's has 3 rows \(\w{16}\): "
            "give both the same file",
            output,
        ), output
        code, output = run(*worker, "accounts=accounts.csv", cwd=tmp_path)
        assert (code, master.end()) == (0, 0), output
    assert len(log_of(server).users()) == 2
