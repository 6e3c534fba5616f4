"""The two kinds of process that `aiotest run` and the operator start: `aiotest master` and `aiotest runner`.

Internal: their flags may change with any version. Both read the run from a plan file, take their secret from
another file, and take the end of their stdin for their parent's death. Start at [`master`][] and
[`runner`][].
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiotest import _native, events, log, process, runners
from aiotest.collection import AiotestfileError, Collected, collect
from aiotest.host import RunnerHost, settle_memory
from aiotest.master_host import MasterHost
from aiotest.options import UsageError, parse_own

__all__ = ["master", "runner"]

NOT_RUN = 3
"""The exit code of a process whose scenario cannot be run."""


@dataclass(frozen=True)
class _Seat:
    """What a child knows once it has read its plan and its scenario."""

    plan: str
    token: str
    collected: Collected
    options: argparse.Namespace


def master(argv: Sequence[str]) -> int:
    """`aiotest master PLAN …`: returns the run's exit code, 3 for a scenario that cannot be run."""
    parser = _parser("master")
    parser.add_argument("--control-address", required=True, metavar="HOST:PORT")
    parser.add_argument("--metrics-address", required=True, metavar="HOST:PORT")
    parser.add_argument("--ready-file", required=True)
    flags = parser.parse_args(argv)
    with asyncio.Runner() as loop:
        try:
            seat = _take_seat(loop, flags)
            return loop.run(_master(seat, flags))
        except (AiotestfileError, UsageError, OSError, ValueError) as error:
            process.write_atomically(flags.ready_file, {"error": str(error)})
            return _refuse(error)


def runner(argv: Sequence[str]) -> int:
    """`aiotest runner PLAN …`: returns 0 when the master has ended the run, 75 after a hand-over."""
    parser = _parser("runner")
    parser.add_argument("--master", required=True, metavar="HOST:PORT")
    parser.add_argument("--id", required=True)
    parser.add_argument("--process", type=int, required=True)
    parser.add_argument("--incarnation", type=int, required=True)
    parser.add_argument("--deposit")
    flags = parser.parse_args(argv)
    with asyncio.Runner() as loop:
        try:
            seat = _take_seat(loop, flags)
            return loop.run(_runner(seat, flags))
        except (AiotestfileError, UsageError, OSError, ValueError) as error:
            return _refuse(error)


async def _master(seat: _Seat, flags: argparse.Namespace) -> int:
    facade = runners.MasterRunner(seat.options)
    runners.global_runner = facade
    await events.init.fire()
    native = _native.Master(
        seat.plan,
        token=seat.token,
        control_address=flags.control_address,
        metrics_address=flags.metrics_address,
        classes=seat.collected.weights,
        shape=seat.collected.shape is not None,
        buckets=process.handed_down().get("buckets"),
        keep_result=True,
    )
    try:
        facade.attach(native)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, native.stop, "terminated")
        process.on_parent_gone(lambda: native.stop("parent gone"))
        settle_memory()
        control, metrics = native.addresses
        process.write_atomically(flags.ready_file, {"control": control, "metrics": metrics})
        return await MasterHost(native, seat.collected.shape, facade).run()
    finally:
        native.close()


async def _runner(seat: _Seat, flags: argparse.Namespace) -> int:
    facade = runners.WorkerRunner(seat.options)
    runners.global_runner = facade
    await events.init.fire()
    native = _native.Runner(
        seat.plan,
        master=flags.master,
        token=seat.token,
        runner=flags.id,
        process=flags.process,
        incarnation=flags.incarnation,
        deposit=flags.deposit,
        classes=seat.collected.weights,
    )
    facade.attach(native)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, native.hand_over)
    process.on_parent_gone(native.hand_over)
    settle_memory()
    classes = seat.collected.user_classes
    host = RunnerHost(native, classes, _native.UserScope, _native.record, facade)
    code = await host.run()
    if host.stuck:
        process.quit_now(code)
    return code


def _parser(role: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"aiotest {role}", allow_abbrev=False)
    parser.add_argument("plan", metavar="PLAN")
    parser.add_argument("--token-file", required=True)
    return parser


def _take_seat(loop: asyncio.Runner, flags: argparse.Namespace) -> _Seat:
    # The terminal's Ctrl-C is the parent's to handle.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    settings = process.handed_down()
    log.set_up(settings.get("loglevel", "INFO"), settings.get("logfile"))
    plan = Path(flags.plan).read_text()
    spec: dict[str, Any] = json.loads(plan)
    collected = collect(spec["aiotestfile"])
    host = spec.get("host")
    collected.aim_at(host)
    options = loop.run(parse_own(spec.get("args", []), host, process.version()))
    return _Seat(plan, Path(flags.token_file).read_text().strip(), collected, options)


def _refuse(error: Exception) -> int:
    print(f"aiotest: {error}", file=sys.stderr)
    return NOT_RUN
