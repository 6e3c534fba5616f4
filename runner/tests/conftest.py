"""What every test needs: events without left-over handlers, and log lines that can be read."""

from __future__ import annotations

from collections.abc import Iterator

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


@pytest.fixture
def log_lines() -> Iterator[list[str]]:
    """The log lines of a test, as `LEVEL message`."""
    lines: list[str] = []
    sink = logger.add(
        lambda line: lines.append(str(line).rstrip()), level="DEBUG", format="{level} {message}"
    )
    yield lines
    logger.remove(sink)
