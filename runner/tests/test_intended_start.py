"""Coordinated omission: what a stalled target held up is in the time since the intended start."""

from __future__ import annotations

import asyncio
import math
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import aiotest
import pytest
from aiotest import _native, events
from aiotest.client import ClientSession
from call_server import Recorded

PERIOD = 0.01
STALL = 2.0
STALLED_AT = 50
ITERATIONS = 400
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@contextmanager
def stalling_server() -> Iterator[str]:
    """Answers each request of its one connection at once, but for one."""

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            number = 0
            while connection.recv(10_000):
                if number == STALLED_AT:
                    time.sleep(STALL)
                number += 1
                connection.sendall(OK)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


def value_at(histogram: dict[str, Any], quantile: float) -> float:
    """In seconds."""
    wanted = max(1, math.ceil(quantile * sum(count for _, count in histogram["pairs"])))
    for value, count in histogram["pairs"]:
        wanted -= count
        if wanted <= 0:
            return float(min(value, histogram["max"])) / 1e6
    raise AssertionError("an empty histogram")


def row_after(scenario: Any) -> dict[str, Any]:
    """The one row that is recorded of a scenario."""
    Recorded()
    asyncio.run(scenario())
    [row] = Recorded().rows
    return row


def exact_at(times: list[float], quantile: float) -> float:
    return sorted(times)[max(1, math.ceil(quantile * len(times))) - 1]


def test_a_stall_is_one_long_call_and_a_ramp_of_late_ones() -> None:
    """On a schedule of one call each 10 ms, a stall of 2 s makes one call last 2 s; the next begins 1.99 s
    late, the one after it 1.98 s, and so on until the schedule has been caught up with after about 200.
    """
    service: list[float] = []
    since: list[float] = []

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        async with ClientSession(base_url=url) as session:
            at = loop.time()
            for _ in range(ITERATIONS):
                at += PERIOD
                await asyncio.sleep(max(0.0, at - loop.time()))
                aiotest.intended_start(at)
                began = loop.time()
                async with session.get("/"):
                    pass
                ended = loop.time()
                service.append(ended - began)
                since.append(ended - at)

    with stalling_server() as url:
        row = row_after(scenario)
    latency, response = row["times"][0]["latency"], row["since_intended"]
    counts = [sum(count for _, count in histogram["pairs"]) for histogram in (latency, response)]
    assert counts == [row["requests"]] * 2 == [ITERATIONS] * 2
    # By the test's own watch: within the histogram's thousandth and what lies between two looks at the clock.
    for quantile in (0.5, 0.9, 0.99, 1.0):
        for histogram, exact in ((latency, service), (response, since)):
            expected = exact_at(exact, quantile)
            assert value_at(histogram, quantile) == pytest.approx(expected, rel=0.001, abs=0.003), quantile
    # By hand, from the schedule: the call after the stalled one is late by the stall less one period, and
    # each that follows by one period less, but for the time that it takes itself.
    own = exact_at(service[STALLED_AT + 1 : STALLED_AT + 100], 0.5)
    for behind in (1, 10, 50, 100):
        by_hand = STALL - behind * (PERIOD - own)
        assert since[STALLED_AT + behind] == pytest.approx(by_hand, abs=0.15)
    assert response["max"] / 1e6 == pytest.approx(STALL, abs=0.1)
    assert value_at(response, 0.9) == pytest.approx(STALL - 0.1 * ITERATIONS * (PERIOD - own), abs=0.15)
    assert value_at(latency, 0.99) < 0.2, "whoever looks at the service times alone sees one slow call in 400"


def test_calls_of_tasks_made_in_an_iteration_have_its_intended_start_and_others_have_none() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()

        async def call(ms: float) -> None:
            _native.record("SQL", "select", ms, 0)

        async def iteration(late: float) -> None:
            aiotest.intended_start(loop.time() - late)
            await asyncio.gather(call(1), call(2))

        await call(4)
        await asyncio.gather(iteration(0.5), iteration(0.25), call(8))
        await call(16)

    row = row_after(scenario)
    assert row["requests"] == 7
    late = row["since_intended"]["sum"] - row["times"][0]["latency"]["sum"]
    assert late / 1e6 == pytest.approx(2 * 0.5 + 2 * 0.25, abs=0.05)


def test_a_custom_clients_event_has_the_intended_start_of_its_iteration() -> None:
    async def scenario() -> None:
        events.stats_request.record = lambda **it: _native.record(
            it["request_method"], it["request_name"], it["response_time"], it["response_length"], it["error"]
        )
        aiotest.intended_start(asyncio.get_running_loop().time() - 1)
        await events.stats_request.fire(
            request_name="select", request_method="SQL", response_time=3.0, response_length=0, error=None
        )

    assert row_after(scenario)["since_intended"]["max"] / 1e6 == pytest.approx(1.003, abs=0.05)


def test_an_iteration_that_begins_before_its_time_is_not_late() -> None:
    async def scenario() -> None:
        aiotest.intended_start(asyncio.get_running_loop().time() + 60)
        _native.record("SQL", "select", 3, 0)

    row = row_after(scenario)
    assert row["since_intended"] == row["times"][0]["latency"]


@pytest.mark.parametrize("at", [math.nan, math.inf, -math.inf])
def test_what_is_no_time_of_the_loop_is_refused(at: float) -> None:
    async def scenario() -> None:
        with pytest.raises(ValueError, match="a time of the loop"):
            aiotest.intended_start(at)

    asyncio.run(scenario())


def test_without_an_intended_start_there_is_no_second_histogram() -> None:
    async def scenario() -> None:
        _native.record("SQL", "select", 3, 0)

    assert "since_intended" not in row_after(scenario)
