"""The two kinds of process that `aiotest run` and the operator's pods start: `aiotest master` and
`aiotest runner`.

Internal: their flags may change with any version. Both read the run from a plan file and take their secret
from another file. On a laptop they take the end of their stdin for their parent's death; in a pod a master
has no parent, and a runner has `aiotest pod`. Start at [`master`][] and [`runner`][].
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence

from aiotest import _native, events, log, memory, process, runners
from aiotest.announcement import NOT_RUN, Announcement, ReadyFile, TerminationMessage
from aiotest.collection import AiotestfileError
from aiotest.host import RunnerHost
from aiotest.master_host import MasterHost
from aiotest.options import UsageError
from aiotest.seat import Deadline, Seat, read_plan, take_seat
from aiotest.watch import watched

__all__ = ["master", "runner"]

LINGER = 75.0
"""Seconds for which a master in a pod waits for two more scrapes of `/metrics`."""
TO_DRAIN = 15.0
"""Seconds beyond `deadlines.stop` that a terminated master waits for its verdict; less than its pod has."""
TO_BE_READ = 10.0
"""Seconds that a terminated master gives the reader of its report."""
LOOK = 0.2
"""Seconds between two looks at whether the verdict is known."""


def master(argv: Sequence[str]) -> int:
    """`aiotest master PLAN …`: returns the verdict's exit code, 3 for a scenario that cannot be run; in a pod
    0 for both, so that only a crash is followed by another start.
    """
    parser = _parser("master")
    parser.add_argument("--control-address", required=True, metavar="HOST:PORT")
    parser.add_argument("--metrics-address", required=True, metavar="HOST:PORT")
    parser.add_argument("--state-dir", help="survives a restart, and what is needed to go on is kept there")
    told = parser.add_mutually_exclusive_group(required=True)
    told.add_argument("--ready-file", help="on a laptop: is written once runners may join")
    told.add_argument(
        "--termination-message", metavar="FILE", help="in a pod: how the run ended is written there"
    )
    flags = parser.parse_args(argv)
    in_pod = flags.termination_message is not None
    announcement: Announcement = (
        TerminationMessage(flags.termination_message) if in_pod else ReadyFile(flags.ready_file)
    )
    _set_up()
    # The first process of a container hears only the signals that it asks for, also while it reads the file.
    signal.signal(signal.SIGTERM, lambda *_: process.quit_now(128 + signal.SIGTERM))
    with asyncio.Runner() as loop:
        try:
            plan = read_plan(flags.plan)
            with Deadline.of_reading(plan, announcement.refuse):
                seat = take_seat(loop, plan, flags.token_file)
                native, facade = loop.run(_prepared(seat, flags, in_pod))
        except (AiotestfileError, UsageError, ValueError) as error:
            return announcement.refuse(str(error))
        except OSError as error:
            return announcement.fail(str(error))
        try:
            host = MasterHost(native, seat.collected.shape, facade)
            return loop.run(
                _served(native, seat.token, host, announcement, plan.deadline("stop", 30.0) + TO_DRAIN)
            )
        finally:
            native.close()


def runner(argv: Sequence[str]) -> int:
    """`aiotest runner PLAN …`: returns 0 when the master has ended the run, 75 after a hand-over, 3 if it
    cannot run.
    """
    parser = _parser("runner")
    parser.add_argument("--master", required=True, metavar="HOST:PORT")
    parser.add_argument("--id", required=True)
    parser.add_argument("--process", type=int, required=True)
    parser.add_argument("--incarnation", type=int, required=True)
    parser.add_argument("--deposit")
    flags = parser.parse_args(argv)
    _set_up()
    with asyncio.Runner() as loop:
        try:
            return loop.run(_runner(take_seat(loop, read_plan(flags.plan), flags.token_file), flags))
        except (AiotestfileError, UsageError, OSError, ValueError) as error:
            print(f"aiotest: {error}", file=sys.stderr)
            return NOT_RUN


async def _prepared(
    seat: Seat, flags: argparse.Namespace, in_pod: bool
) -> tuple[_native.Master, runners.MasterRunner]:
    """A master that accepts runners, and what scenarios see of it."""
    facade = runners.MasterRunner(seat.options)
    await _introduce(facade)
    # Before anybody may join: from then on there may be a run, whose shape is to answer.
    memory.settle()
    native = _native.Master(
        seat.plan.text,
        token=seat.token,
        control_address=flags.control_address,
        metrics_address=flags.metrics_address,
        classes=seat.collected.weights,
        shape=seat.collected.shape is not None,
        buckets=process.handed_down().get("buckets"),
        keep_result=True,
        linger=LINGER if in_pod else None,
        state_dir=flags.state_dir,
        hooks=(events.run_setup.has_handlers, events.run_teardown.has_handlers),
    )
    facade.attach(native)
    return native, facade


async def _served(
    native: _native.Master, token: str, host: MasterHost, announcement: Announcement, to_drain: float
) -> int:
    """Serve until the run has ended and nobody waits for anything here. Returns the exit code."""
    announcement.ready(native, token)
    concluded = asyncio.create_task(_conclude(native, announcement), name="conclude")
    leaving: list[asyncio.Task[None]] = []

    def terminate() -> None:
        if leaving:
            process.quit_now(announcement.exit_code(concluded.done(), NOT_RUN))
        native.stop("terminated")
        leaving.append(asyncio.create_task(_leave(host, concluded, to_drain), name="leave"))

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, terminate)
    verdict = await host.run()
    # The run may have ended since the last look.
    announcement.conclude(native.termination())
    return announcement.exit_code(native.termination() is not None, verdict)


async def _conclude(native: _native.Master, announcement: Announcement) -> None:
    """Tell the verdict as soon as it is known: the report's reader, who is waited for, may never come."""
    while (message := native.termination()) is None:  # noqa: ASYNC110, as the native side has no event for it
        await asyncio.sleep(LOOK)
    announcement.conclude(message)


async def _leave(host: MasterHost, concluded: asyncio.Task[None], to_drain: float) -> None:
    """End a master that was asked to: with its verdict, if the load drains in time."""
    await asyncio.wait({concluded}, timeout=to_drain)
    await asyncio.sleep(TO_BE_READ if concluded.done() else 0)
    host.end(NOT_RUN)


async def _runner(seat: Seat, flags: argparse.Namespace) -> int:
    facade = runners.WorkerRunner(seat.options)
    await _introduce(facade)
    memory.settle()
    native = _native.Runner(
        seat.plan.text,
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
    classes = seat.collected.user_classes
    host = RunnerHost(native, classes, _native.UserScope, _native.record, facade)
    with watched(native, seat.collected.path, NOT_RUN):
        code = await host.run()
    if host.stuck:
        process.quit_now(code)
    return code


async def _introduce(facade: runners.MasterRunner | runners.WorkerRunner) -> None:
    """Let the scenario know what kind of process it is in."""
    runners.global_runner = facade
    await events.init.fire()


def _parser(role: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"aiotest {role}", allow_abbrev=False)
    parser.add_argument("plan", metavar="PLAN")
    parser.add_argument("--token-file", required=True)
    return parser


def _set_up() -> None:
    process.raise_open_files()
    # The terminal's Ctrl-C is the parent's to handle.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    settings = process.handed_down()
    log.set_up(settings.get("loglevel", "INFO"), settings.get("logfile"))
