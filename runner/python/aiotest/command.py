"""The old command line: `aiotest -f FILE`, alone, as `--master` or as `--worker`. Exit codes are 0 and 1
only.

A run of it is the same master and the same runner as anywhere else, in one process and on one loop where
there is only one, so module globals of the file are shared by its users. Start at [`run`][].
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aiotest import _native, data_sets, events, log, memory, options, process, runners
from aiotest.collection import AiotestfileError, Collected, collect
from aiotest.host import RunnerHost
from aiotest.log import logger
from aiotest.master_host import MasterHost
from aiotest.watch import watched

__all__ = ["plan_of", "run"]

MICROSECONDS = 1_000_000
FAILED = 1
"""The one exit code beside 0."""
NO_TOKEN = "without-token"
"""What a master without a secret and its workers on the same machine say in place of one."""


def run(argv: Sequence[str]) -> int:
    """Carry out the old command line. Returns 1 where requests failed, users died or the file is bad, else
    0.
    """
    log.set_up()
    process.raise_open_files()
    with asyncio.Runner() as loop:
        try:
            found = data_sets.prepare(options.data_sets_of(argv))
            collected = _collected(argv)
            given = loop.run(options.parse(argv, process.version()))
            assert collected is not None  # -h and -V have ended in `parse`
            given.data_set = found
            log.set_up(given.loglevel, given.logfile)
            if given.show_users_wight:
                print(json.dumps(dict(collected.weights), indent=2))
                return 0
            collected.aim_at(given.host)
            if given.processes == 1:
                return loop.run(_role(given, collected))
        except (AiotestfileError, options.UsageError, _CannotRun) as error:
            print(f"aiotest: {error}", file=sys.stderr)
            return 1
    return _processes(given, collected, options.own_words(argv))


class _CannotRun(Exception):
    """The run cannot begin on this machine: a port that is taken, a token that cannot be read."""


def _collected(argv: Sequence[str]) -> Collected | None:
    try:
        return collect(options.file_of(argv))
    except AiotestfileError:
        if {"-h", "--help", "-V", "--version"} & set(argv):
            return None
        raise


async def _role(given: argparse.Namespace, collected: Collected) -> int:
    if given.worker:
        return await _worker(given, collected)
    if given.master:
        return await _master(given, collected)
    return await _alone(given, collected)


async def _alone(given: argparse.Namespace, collected: Collected) -> int:
    facade = runners.LocalRunner(given)
    runners.global_runner = facade
    await events.init.fire()
    memory.settle()
    plan, token = plan_of(given, collected), secrets.token_urlsafe(32)
    master = _bound(given, collected, plan, token, "127.0.0.1:0")
    try:
        native = _joined(plan, token, master.addresses[0], "local", collected)
        facade.attach(native)
        process.on_signals(master.stop, process.quit_now)
        _native.show_progress(master.addresses[0], token)
        users = RunnerHost(native, collected.user_classes, _native.UserScope, _native.record, facade)
        served = asyncio.create_task(MasterHost(master, collected.shape, None).run(), name="master")
        with watched(native, collected.path, FAILED):
            await users.run()
        await served
        code = _exit_code(master)
    finally:
        master.close()
    if users.stuck:
        process.quit_now(code)
    return code


async def _master(given: argparse.Namespace, collected: Collected) -> int:
    facade = runners.MasterRunner(given)
    runners.global_runner = facade
    await events.init.fire()
    secret, host = _token(given), given.master_bind_host
    token = secret or NO_TOKEN
    if secret is None:
        logger.warning(
            "no AIOTEST_TOKEN and no --token-file: the master listens on 127.0.0.1 only, "
            "for workers on this machine"
        )
        host = "127.0.0.1"
    address = _address("0.0.0.0" if host in ("*", "") else host, given.master_bind_port)
    # Before anybody may join: from then on there may be a run, whose shape is to answer.
    memory.settle()
    master = _bound(given, collected, plan_of(given, collected), token, address)
    try:
        facade.attach(master)
        process.on_signals(master.stop, process.quit_now)
        _native.show_progress(master.addresses[0], token)
        logger.info(f"waiting for {given.expect_workers} workers on {master.addresses[0]}")
        await MasterHost(master, collected.shape, facade).run()
        return _exit_code(master)
    finally:
        master.close()


async def _worker(given: argparse.Namespace, collected: Collected) -> int:
    facade = runners.WorkerRunner(given)
    runners.global_runner = facade
    await events.init.fire()
    address = _address(given.master_host, given.master_port)
    name = f"{socket.gethostname()}-{os.getpid()}"
    memory.settle()
    native = _joined(plan_of(given, collected), _token(given) or NO_TOKEN, address, name, collected)
    facade.attach(native)
    process.on_signals(lambda _: native.hand_over(), process.quit_now)
    users = RunnerHost(native, collected.user_classes, _native.UserScope, _native.record, facade)
    with watched(native, collected.path, FAILED):
        code = 0 if await users.run() == 0 else FAILED
    if users.stuck:
        process.quit_now(code)
    return code


def _processes(given: argparse.Namespace, collected: Collected, own: list[str]) -> int:
    # The same supervision as of `aiotest run`; this process runs no user and no master.
    process.hand_down(given)
    process.let_go_of_ctrl_c()
    metrics = _address("0.0.0.0", given.prometheus_port)
    return 0 if _native.run_plan(plan_of(given, collected, own), metrics) == 0 else 1


def plan_of(given: argparse.Namespace, collected: Collected, own: Sequence[str] = ()) -> str:
    """The run of a command line, as the JSON that masters and runners read; `own` are the file's own
    options.
    """
    duration = None if given.run_time is None else given.run_time * MICROSECONDS
    constant = {"users": given.num_users, "spawn_rate": given.rate, "duration": duration}
    plan: dict[str, Any] = {
        "run": {"id": secrets.token_hex(8), "name": collected.path.stem, "number": 1},
        "load": {"constant": constant} if collected.shape is None else "shape",
        "runners": given.expect_workers if given.master else 1,
        "processes_per_runner": given.processes,
        # The result is read in this process, for its table.
        "deadlines": {"results": 5 * MICROSECONDS},
        "host": given.host or None,
        "args": list(own),
        "aiotestfile": str(collected.path),
        "data": given.data_set,
    }
    return json.dumps(plan)


def _bound(
    given: argparse.Namespace, collected: Collected, plan: str, token: str, address: str
) -> _native.Master:
    try:
        return _native.Master(
            plan,
            token=token,
            control_address=address,
            metrics_address=_address("0.0.0.0", given.prometheus_port),
            classes=collected.weights,
            shape=collected.shape is not None,
            buckets=[float(bound) for bound in given.buckets],
            keep_result=True,
            hooks=(events.run_setup.has_handlers, events.run_teardown.has_handlers),
        )
    except OSError as error:
        others = "--prometheus-port, --master-bind-host and --master-bind-port choose another address"
        raise _CannotRun(f"{error} ({others})") from error
    except ValueError as error:
        raise _CannotRun(str(error)) from error


def _joined(plan: str, token: str, master: str, name: str, collected: Collected) -> _native.Runner:
    try:
        return _native.Runner(
            plan,
            master=master,
            token=token,
            runner=name,
            process=0,
            incarnation=1,
            deposit=None,
            classes=collected.weights,
        )
    except (OSError, ValueError) as error:
        raise _CannotRun(str(error)) from error


def _token(given: argparse.Namespace) -> str | None:
    if given.token_file:
        try:
            token = Path(given.token_file).read_text().strip()
        except OSError as error:
            raise _CannotRun(f"argument --token-file: {error}") from error
        if not token:
            raise _CannotRun(f"argument --token-file: {given.token_file} is empty")
        return token
    return os.environ.get("AIOTEST_TOKEN") or None


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _exit_code(master: _native.Master) -> int:
    """1 where calls failed, also by this machine's own fault, users died, or nothing was run; as ever,
    whatever else the verdict says.
    """
    report = json.loads(master.report())
    failed = (
        report["total"]["failures"]
        or report["generator_faults"]
        or report["user_errors"]
        or report["verdict"]["result"] == "NotStarted"
    )
    return 1 if failed else 0
