"""What every test needs: events without left-over handlers, log lines that can be read, and an eye on the
count of sent requests.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import example_target
import pytest
from aiotest import events
from aiotest.log import logger


@pytest.fixture(autouse=True)
def _clean_events() -> Iterator[None]:
    yield
    for name in events.__all__:
        hook = getattr(events, name)
        if isinstance(hook, events.EventHook):
            hook.__init__(hook.name)  # type: ignore[misc]


@pytest.fixture(autouse=True)
def _sent_is_what_the_target_received(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whatever a test is about: where it has put a run's load on the example target, both count the same, but
    for what the report itself gives up for lost.
    """
    folder = request.getfixturevalue("tmp_path") if "tmp_path" in request.fixturenames else None
    example_target.received.clear()
    yield
    reports = [json.loads(path.read_text()) for path in folder.rglob("report.json")] if folder else []
    if reports and example_target.received:
        sent = sum(report["total"]["sent"] for report in reports)
        gaps = [gap["lost_at_most"] for report in reports for gap in report["gaps"]]
        lost = float("inf") if None in gaps else sum(gaps)
        received = sum(example_target.received)
        assert sent <= received <= sent + lost, f"{sent} sent, at most {lost} lost, {received} received"


@pytest.fixture
def log_lines() -> Iterator[list[str]]:
    """The log lines of a test, as `LEVEL message`."""
    lines: list[str] = []
    sink = logger.add(
        lambda line: lines.append(str(line).rstrip()), level="DEBUG", format="{level} {message}"
    )
    yield lines
    logger.remove(sink)
