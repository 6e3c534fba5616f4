"""The cluster's Prometheus, asked through the API server, so that it works with every cluster."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from e2e.kubernetes import Kubectl

ANSWER_SECONDS = 30
# Between two questions. What is waited for comes by scrapes, which are seconds apart.
ASK_AGAIN_SECONDS = 0.5
Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Prometheus:
    """A Prometheus at `url`, which Grafana's data source would have."""

    url: str

    def query(self, expression: str) -> dict[Labels, float]:
        """The value of each series now, by its sorted labels."""
        question = urllib.parse.urlencode({"query": expression})
        with urllib.request.urlopen(f"{self.url}/api/v1/query?{question}", timeout=ANSWER_SECONDS) as answer:
            result: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return {tuple(sorted(series["metric"].items())): float(series["value"][1]) for series in result}

    def value(self, expression: str) -> float | None:
        """The value of the only series; None when there is none."""
        found = list(self.query(expression).values())
        assert len(found) <= 1, f"{expression} has {len(found)} series"
        return found[0] if found else None

    def until(self, expression: str, holds: Callable[[float], bool], *, seconds: float) -> float:
        """Ask until `holds` for the only series' value, and return that; fails after so many seconds."""
        deadline = time.monotonic() + seconds
        while True:
            value = self.value(expression)
            if value is not None and holds(value):
                return value
            assert time.monotonic() < deadline, f"after {seconds} s {expression} is still {value}"
            time.sleep(ASK_AGAIN_SECONDS)


@contextmanager
def through(kubectl: Kubectl, service: str) -> Iterator[Prometheus]:
    """The Prometheus behind `NAMESPACE/SERVICE:PORT`, by `kubectl proxy` on a port of the kernel's choice."""
    namespace, _, name = service.partition("/")
    command = kubectl.command("proxy", "--port=0")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as proxy:
        try:
            assert proxy.stdout is not None, "it is a pipe"
            address = proxy.stdout.readline().split()[-1]
            yield Prometheus(f"http://{address}/api/v1/namespaces/{namespace}/services/{name}/proxy")
        finally:
            proxy.terminate()
