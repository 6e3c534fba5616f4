"""The figures of a run against an independent witness (`witness/`), call by call, at 1,000 calls a second.

What is compared. A call's latency is from its start to the arrival of the last byte of its body in the
generator's kernel. The witness' interval is from the first contact to the last byte that its own kernel took:
on a kept connection from the arrival of the request (by the kernel's stamp), on a new one from the acceptance
of the connection, so that both hold the TLS handshake and the request; with a redirect to the end of the last
hop, so that both hold the way between. What the latency has beyond the interval is the way there and back and
the generator's own work: the bound is for that.

What is left out. The processes have real-time priority where that is allowed (root), so that other programs
do not count; what even that does not help against (a virtual machine's host, the kernel's own work) is
watched by a thread of the witness on each core, at a priority that the generator does not have. A call is
left out of both sides if a core was late where the two intervals differ, which is no doing of either side's;
the table says how many were. Each row has a thousand calls that were not: where the machine left fewer, it is
measured again, and what was measured before counts as well.

Run with `-s` to see the tables.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from truth_run import Load, Measured, Row, interval, is_disturbed, measure, percentile
from truth_witness import Network, Stamp, loopback, running_witness, veth, why_no_veth

pytestmark = pytest.mark.timeout(180)

BOUND_MS, BOUND_SHARE = 0.2, 0.01
MOVED_MS = 1.0
BLOCKED = 0.3
ENOUGH, ATTEMPTS = 1000, 4
"""Calls of each row that nothing disturbed, in how many runs at most."""
SPARSE = Load(users=110, wait=0.09, seconds=12)
"""10 ms of delay beside the wait: 1,000 calls a second."""
BUSY = Load(users=300, wait=0.1, seconds=12, blocked=BLOCKED)
"""100 ms of delay, so that a hundred calls and more are under way when the loop is blocked."""

Net = Callable[[], AbstractContextManager[Network]]
both_networks = pytest.mark.parametrize(
    "network",
    [
        loopback,
        pytest.param(veth, marks=pytest.mark.skipif(why_no_veth() is not None, reason=str(why_no_veth()))),
    ],
)


def rows(mean: int) -> list[Row]:
    """Every kind of call, the delays of each with this mean in milliseconds."""
    return [
        Row("kept 100 B", "tail", mean),
        Row("kept 16 KB", "uniform", mean, 16 << 10),
        Row("kept 64 KB", "tail", mean, 64 << 10),
        Row("new 100 B", "uniform", mean, new=True),
        Row("new 16 KB", "tail", mean, 16 << 10, new=True),
        Row("new 64 KB", "uniform", mean, 64 << 10, new=True),
        Row("redirect", "bimodal", mean, redirected=True),
        Row("TLS", "tail", mean, tls=True),
        Row("TLS new", "uniform", mean, tls=True, new=True),
        Row("stall", "fixed", mean, stalled=True),
    ]


def measured(network: Net, folder: Path, wanted: list[Row], load: Load) -> Measured:
    """The table, printed; what the witness has received is what was sent."""
    outcome = None
    for _ in range(ATTEMPTS):
        with network() as joined, running_witness(joined, folder) as witness:
            run = measure(witness, Path(tempfile.mkdtemp(dir=folder)), wanted, load)
        print(f"\n{joined.name}, the loop blocked for {load.blocked} s of each second: {run.table()}")
        assert run.sent == run.received
        assert {row.name for row in run.rows} == {row.name for row in wanted}
        outcome = outcome.with_more(run) if outcome else run
        if all(len(row.pairs) >= ENOUGH for row in outcome.rows):
            return outcome
    assert outcome is not None
    pytest.fail(f"the machine is too unsteady to tell\n{outcome.table()}")


def check(outcome: Measured, bound: Callable[[float], float]) -> None:
    """Fail with every figure that is further from the witness' than `bound` of it."""
    beyond = [
        f"{row.name} {name}: {difference:+.3f} ms"
        for row in outcome.rows
        for name, (witnessed, difference) in row.differences().items()
        if bound(witnessed) < abs(difference)
    ]
    assert not beyond, "\n".join([*beyond, outcome.table()])


def within(witnessed: float) -> float:
    """One per cent and 0.2 ms."""
    return BOUND_SHARE * witnessed + BOUND_MS


@both_networks
def test_every_row_says_what_the_witness_saw(network: Net, tmp_path: Path) -> None:
    outcome = measured(network, tmp_path, rows(10), SPARSE)
    assert outcome.rate > 900, outcome.table()
    check(outcome, within)
    stalled = next(row for row in outcome.rows if row.name == "stall")
    assert stalled.longest > 2000, outcome.table()


@both_networks
def test_a_loop_that_is_blocked_moves_no_row(network: Net, tmp_path: Path) -> None:
    check(measured(network, tmp_path, rows(100), BUSY), lambda _: MOVED_MS)


@pytest.mark.long
@both_networks
@pytest.mark.parametrize("row", rows(10), ids=lambda row: row.name)
def test_a_row_alone_says_what_the_witness_saw(network: Net, row: Row, tmp_path: Path) -> None:
    check(measured(network, tmp_path, [row], SPARSE), within)


@pytest.mark.long
@both_networks
def test_a_loop_that_computes_moves_no_row(network: Net, tmp_path: Path) -> None:
    load = Load(users=200, wait=0.1, seconds=20, blocked=BLOCKED, spin=True)
    check(measured(network, tmp_path, rows(100), load), lambda _: MOVED_MS)


MS = 1_000_000


def stamp(received: int, written: int | None, *, hop: bool = False, nth: int = 2) -> Stamp:
    """Accepted 3 ms before, due a millisecond before it was written; all in milliseconds."""
    done = received if written is None else written
    return Stamp(
        id=1,
        hop=hop,
        nth=nth,
        opened=(received - 3) * MS,
        received=received * MS,
        written=None if written is None else written * MS,
        delay=(done - received - 1) * MS,
    )


def test_an_interval_begins_with_the_connection_where_that_is_new_and_ends_with_the_last_hop() -> None:
    assert interval([stamp(10, 25)]) == 15
    assert interval([stamp(10, 25, nth=1)]) == 18
    assert interval([stamp(10, 25, hop=True), stamp(26, 46)]) == 36
    assert interval([stamp(10, None)]) is None
    assert interval([stamp(10, 25, hop=True)]) is None


@pytest.mark.parametrize(
    ("lapse", "disturbs"),
    [
        ((5, 9), False),
        ((9, 10), True),
        ((11, 24), False),
        ((12, 25), True),
        ((27, 30), False),
        ((25, 30), True),
    ],
)
def test_a_late_core_disturbs_a_call_at_its_ends_only(lapse: tuple[int, int], disturbs: bool) -> None:
    fro, to = lapse
    assert is_disturbed([stamp(10, 25)], 0.5, [(fro * MS, to * MS)]) is disturbs


def test_a_percentile_is_a_value_that_was_measured() -> None:
    assert [percentile([4, 1, 3, 2], share) for share in (0.5, 0.9, 1.0)] == [2, 4, 4]
