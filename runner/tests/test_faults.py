"""A master, its runners and the network between them, killed, frozen, cut off and slowed down in each phase
of a run: the target's count and the report's agree to the sample, and no load goes on that nobody answers
for.

The table of every fault in every phase is long; what stands beside it is in `make test`. What the same faults
do to the state machines is in core/tests/simulation. Start at [`FAULTS`][].
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest
from command_line import Command, run
from faulty_proxy import ANSWERS_LOST, NONE, PARTITION, RESET, SLOW, Fault
from fleet import DEAD_MAN, USERS, Fleet, shop
from one_server import OneServer, one_server
from processes import PodMaster, constant, plan, pod_argv, until

pytestmark = pytest.mark.timeout(150)

SHORT = 1.0
"""Seconds of a fault that is over before anybody has to act on it."""


@pytest.fixture
def server() -> Iterator[OneServer]:
    with one_server() as started:
        yield started


@dataclass(frozen=True)
class Trouble:
    """A fault: how it begins, how it ends, and what it is."""

    begin: Callable[[Fleet], None]
    end: Callable[[Fleet], None] = lambda fleet: None
    lasts: bool = False
    """Until those who are still there have acted on it; otherwise for a moment."""
    of_all: bool = False
    """Nobody hears anything of the master."""
    kills: bool = False
    """Something is missing in the report, which says how much that can be."""
    leaves: bool = False
    """`pod-a` ends of itself."""
    dead_man: float = DEAD_MAN


def signalled(number: int) -> Callable[[Fleet], None]:
    """A signal to the process in `pod-a`."""
    return lambda fleet: fleet.signal("pod-a", number)


def master_signalled(number: int) -> Callable[[Fleet], None]:
    """A signal to the master."""
    return lambda fleet: fleet.master.command.signal(number)


def on_the_way(fault: Fault) -> Callable[[Fleet], None]:
    """A fault between `pod-a` and the master."""
    return lambda fleet: fleet.proxies["pod-a"].set(fault)


KILL, FREEZE, THAW = signal.SIGKILL, signal.SIGSTOP, signal.SIGCONT
FROZEN = (signalled(FREEZE), signalled(THAW))
CUT_OFF = (on_the_way(PARTITION), on_the_way(NONE))
UNANSWERED = (on_the_way(ANSWERS_LOST), on_the_way(NONE))
MASTER_KILLED = (lambda fleet: fleet.master.die(), lambda fleet: fleet.master.start_again())
MASTER_FROZEN = (master_signalled(FREEZE), master_signalled(THAW))
ALL_CUT_OFF = (lambda fleet: fleet.network(PARTITION), lambda fleet: fleet.network(NONE))

FAULTS = {
    "runner killed": Trouble(signalled(KILL), kills=True),
    "runner frozen": Trouble(*FROZEN),
    "runner frozen for long": Trouble(*FROZEN, lasts=True),
    "runner asked to leave": Trouble(lambda fleet: fleet.pods["pod-a"].signal(signal.SIGTERM), leaves=True),
    "partition": Trouble(*CUT_OFF),
    "partition for long": Trouble(*CUT_OFF, lasts=True),
    "answers lost": Trouble(*UNANSWERED),
    # Longer than a call takes at most: reports come again and again.
    "answers lost for long": Trouble(*UNANSWERED, lasts=True, dead_man=6.0),
    "connections reset": Trouble(on_the_way(RESET), on_the_way(NONE)),
    "slow link": Trouble(on_the_way(SLOW)),
    "master killed": Trouble(*MASTER_KILLED),
    "master killed for long": Trouble(*MASTER_KILLED, lasts=True, of_all=True),
    "master frozen": Trouble(*MASTER_FROZEN),
    "master frozen for long": Trouble(*MASTER_FROZEN, lasts=True, of_all=True),
    "partition of all for long": Trouble(*ALL_CUT_OFF, lasts=True, of_all=True),
}
PHASES = ("waiting", "ramp", "steady", "draining")

LOADS: dict[str, dict[str, Any]] = {
    "waiting": {"load": constant(USERS, 4), "runners": 3},
    "ramp": {"load": {"constant": {"users": USERS, "spawn_rate": 1.5}}},
    "steady": {},
    "draining": {"linger": 2.5},
}


def play(folder: Path, server: OneServer, phase: str, trouble: Trouble) -> dict[str, Any]:
    """A run with a fault in one phase. Returns its report, once all that always holds has been checked."""
    with Fleet(folder, server, "pod-a", "pod-b", dead_man=trouble.dead_man, **LOADS[phase]) as fleet:
        reach(fleet, phase)
        began = time.monotonic()
        trouble.begin(fleet)
        if trouble.leaves:
            assert fleet.pods["pod-a"].end() in {75, 0}, fleet.pods["pod-a"].output
        elif trouble.lasts:
            outlast(fleet, phase, trouble, began)
        else:
            time.sleep(SHORT)
        trouble.end(fleet)
        come_to_the_end(fleet, phase, trouble)
        result = fleet.checked_result(bounded=trouble.kills)
        codes = {name: pod.end() for name, pod in fleet.pods.items()}
        assert [name for name, code in codes.items() if code != 0] in ([], ["pod-a"] * trouble.leaves), codes
        return result


def reach(fleet: Fleet, phase: str) -> None:
    """Wait for a phase."""
    if phase == "waiting":
        until("both wait for a third", lambda: fleet.joined() == 2)
        return
    until("there is load", lambda: fleet.is_loaded("pod-a"))
    if phase == "ramp":
        return
    until("every user lives", lambda: fleet.is_whole() and fleet.is_loaded("pod-b"))
    if phase == "draining":
        fleet.stop()
        until("users are ending", lambda: fleet.master.status().get("state") == "draining")


def outlast(fleet: Fleet, phase: str, trouble: Trouble, began: float) -> None:
    """Wait until everybody has done what such a fault asks for: the load that nobody answers for has stopped,
    and others have taken it over.
    """
    loaded = phase in ("ramp", "steady")
    if trouble.of_all:
        over = began + trouble.dead_man + 2.5
        until("the dead-man time is over", lambda: over < time.monotonic())
        stopped = fleet.last_request() if loaded else began
    else:
        until("the runner is missed", lambda: fleet.joined() == 1)
        if loaded:
            until("the other has its users", fleet.is_whole)
        stopped = fleet.server.latest.get("/pod-a", began)
    assert not loaded or stopped < began + trouble.dead_man + 1, (
        f"the load went on for {stopped - began:.1f} s"
    )


def come_to_the_end(fleet: Fleet, phase: str, trouble: Trouble) -> None:
    """After a fault: all is as it was, and then the load is over."""
    if phase == "waiting":
        if trouble.leaves:
            fleet.join("pod-d")
        until("the others wait again", lambda: fleet.joined() == 2)
        fleet.join("pod-c")
    elif phase != "draining":
        if trouble.leaves:
            until("every user lives on the other", fleet.is_whole)
            fleet.join("pod-d")
        back = "pod-d" if trouble.leaves else "pod-a"
        until("every user lives, on both", lambda: fleet.is_loaded(back) and fleet.is_whole())
        fleet.stop()


@pytest.mark.long
@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("name", FAULTS)
def test_no_fault_in_no_phase_loses_a_sample_or_leaves_load_behind(
    server: OneServer, tmp_path: Path, name: str, phase: str
) -> None:
    result = play(tmp_path, server, phase, FAULTS[name])
    if name == "runner killed":
        assert [gap["runner"] for gap in result["gaps"]] == ["pod-a"] * (phase != "waiting")
    if phase == "waiting":
        assert result["verdict"]["result"] == "Passed", result["verdict"]


def test_a_runner_that_is_cut_off_in_mid_ramp_stops_in_time_and_loses_no_sample(
    server: OneServer, tmp_path: Path
) -> None:
    result = play(tmp_path, server, "ramp", FAULTS["partition for long"])
    assert [(gap["runner"], gap["lost_at_most"]) for gap in result["gaps"]] == [("pod-a", 0)]


def test_a_frozen_runner_sends_nothing_before_it_has_heard_from_its_master(
    server: OneServer, tmp_path: Path
) -> None:
    with Fleet(tmp_path, server, "pod-a", "pod-b") as fleet:
        reach(fleet, "steady")
        fleet.signal("pod-a", FREEZE)
        until("the other has its users", lambda: fleet.joined() == 1 and fleet.is_whole())
        fleet.proxies["pod-a"].set(PARTITION)
        sent = server.counts["/pod-a"]
        fleet.signal("pod-a", THAW)
        # Long enough for each of its users to ask twenty times.
        time.sleep(SHORT)
        assert server.counts["/pod-a"] == sent, "its time was over while it was frozen"
        fleet.proxies["pod-a"].set(NONE)
        until("it has its part again", lambda: fleet.is_loaded("pod-a") and fleet.is_whole())
        fleet.stop()
        fleet.checked_result()


def test_neither_an_old_runner_nor_an_old_master_has_a_word_in_a_new_run(
    server: OneServer, tmp_path: Path
) -> None:
    old_folder, new_folder = tmp_path / "old", tmp_path / "new"
    old_folder.mkdir()
    new_folder.mkdir()
    with one_server() as new_server, Fleet(old_folder, server, "pod-a") as old:
        (new_folder / "aiotestfile.py").write_text(shop())
        spec = {"run": {"id": "r2", "name": "shop"}, "host": new_server.url, "load": constant(4, 4)}
        until("the old run is on", lambda: old.is_loaded("pod-a"))
        plan(new_folder, "of-the-new-run", **spec)
        code, output = run(*pod_argv(new_folder, old.master.control, "pod-lost"), cwd=new_folder)
        assert code == 3, output
        assert "refused the token" in output
        assert old.joined() == 1

        old.signal("pod-a", FREEZE)
        frozen = time.monotonic()
        old.master.die()
        until("its time is over", lambda: frozen + DEAD_MAN < time.monotonic())
        sent = server.counts.total()
        with (
            PodMaster(new_folder, "of-the-new-run", old.master.control, **spec) as master,
            Command(*pod_argv(new_folder, master.control, "pod-b"), cwd=new_folder) as pod,
        ):
            until("the new run is on", lambda: master.users() == 4)
            old.signal("pod-a", THAW)
            assert old.pods["pod-a"].end() == 3, old.pods["pod-a"].output
            assert "refused the token" in old.pods["pod-a"].output
            assert pod.end() == 0, pod.output
            result = master.result()
        assert result["total"]["sent"] == new_server.counts.total() > 20
        assert [runner["id"] for runner in result["runners"]] == ["pod-b"]
        assert server.counts.total() == sent


def test_a_report_of_another_run_is_refused_though_its_token_is_right(tmp_path: Path) -> None:
    (tmp_path / "aiotestfile.py").write_text(shop())
    with PodMaster(tmp_path) as master:
        until("it listens", lambda: master.users() == 0)
        assignment = {"version": 1, "epoch": 1, "run": "r0", "now": 9_000_000, "acknowledged": 1}
        report = {
            "version": 1,
            "epoch": 1,
            "from": {"runner": "pod-a", "process": 0, "incarnation": 1},
            "sequence": 7,
            "classes": ["TestShop"],
            "state": "running",
            "users": [{"live": 4}],
            "heard": assignment | {"state": "running", "start": 5_000_000},
        }
        with pytest.raises(HTTPError) as refused:
            master.ask("POST", "/v1/report", report)
        assert refused.value.code == 409
        assert "stale_epoch" in refused.value.read().decode()
        assert (master.users(), master.status()["joined"]) == (0, 0)
