"""Asks a Prometheus every query of the chart's dashboards, as Grafana would. Says which have no data; never
judges what the data is. Start at `without_data`.

    python -m e2e.dashboards http://127.0.0.1:9090 --last 300 namespace=shop load_test=checkout run=4f1c
"""

import argparse
import json
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DASHBOARDS = Path(__file__).resolve().parent.parent / "charts/aiotest-operator/dashboards"
# What Grafana makes of an interval: a rate looks back over four of them.
INTERVALS_OF_A_RATE = 4
ANSWER_SECONDS = 30
STEP_SECONDS = 5

Json = dict[str, Any]


@dataclass(frozen=True)
class Query:
    """One target of a panel."""

    dashboard: str
    panel: str
    expr: str
    instant: bool
    interval_seconds: int

    def __str__(self) -> str:
        return f"{self.dashboard}, «{self.panel}»: {self.expr}"


@dataclass(frozen=True)
class Variable:
    """A variable whose values come from Prometheus."""

    dashboard: str
    name: str
    query: str
    regex: str

    def __str__(self) -> str:
        return f"{self.dashboard}, ${self.name}: {self.query}"


def boards() -> dict[str, Json]:
    """The dashboards by their file's name."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(DASHBOARDS.glob("*.json"))}


def queries() -> Iterator[Query]:
    """Every query of every panel."""
    for name, board in boards().items():
        for panel in board["panels"]:
            for target in panel.get("targets", []):
                interval = int(panel["interval"].removesuffix("s"))
                yield Query(name, panel["title"], target["expr"], target["instant"], interval)


def variables() -> Iterator[Variable]:
    """Every variable that asks Prometheus."""
    for name, board in boards().items():
        for variable in board["templating"]["list"]:
            if variable["type"] == "query":
                yield Variable(name, variable["name"], variable["query"]["query"], variable["regex"])


def fill(text: str, values: Mapping[str, str]) -> str:
    """Replaces `$name` and `${name}`; a variable without a value is an error."""

    def value(found: re.Match[str]) -> str:
        name = found["plain"] or found["braced"]
        if name not in values:
            raise KeyError(f"no value for ${name} in {text}")
        return values[name]

    return re.sub(r"\$(?:(?P<plain>\w+)|\{(?P<braced>\w+)\})", value, text)


def python_regex(regex: str) -> str:
    """Grafana's `/…/` with JavaScript's named groups, as Python writes it."""
    return regex.strip("/").replace("(?<", "(?P<")


@dataclass(frozen=True)
class Window:
    """A Prometheus, and the time to look at, in seconds since 1970."""

    url: str
    start: float
    end: float

    def builtins(self, interval_seconds: int) -> dict[str, str]:
        """What Grafana itself knows."""
        return {
            "__range": f"{max(1, round(self.end - self.start))}s",
            "__rate_interval": f"{interval_seconds * INTERVALS_OF_A_RATE}s",
        }

    def ask(self, path: str, **parameters: str | float) -> Any:
        """The `data` of an answer."""
        address = f"{self.url.rstrip('/')}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(address, timeout=ANSWER_SECONDS) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise ValueError(f"{parameters}: {error.read().decode()}") from error

    def has_data(self, query: Query, values: Mapping[str, str]) -> bool:
        """Whether a query returns a number at any time of the window."""
        expr = fill(query.expr, {**values, **self.builtins(query.interval_seconds)})
        if query.instant:
            series = self.ask("query", query=expr, time=self.end)["result"]
            points = [one["value"] for one in series]
        else:
            times = {"start": self.start, "end": self.end, "step": STEP_SECONDS}
            series = self.ask("query_range", query=expr, **times)["result"]
            points = [point for one in series for point in one["values"]]
        return any(value != "NaN" for _, value in points)

    def options(self, variable: Variable, values: Mapping[str, str]) -> list[str]:
        """What a variable can be set to."""
        text = fill(variable.query, {**values, **self.builtins(STEP_SECONDS)})
        of_label = re.fullmatch(r"label_values\((?P<series>.*), (?P<label>\w+)\)", text)
        of_query = re.fullmatch(r"query_result\((?P<expr>.*)\)", text)
        if of_label:
            times = {"start": self.start, "end": self.end, "match[]": of_label["series"]}
            return [str(value) for value in self.ask(f"label/{of_label['label']}/values", **times)]
        assert of_query, f"{variable}: neither label_values nor query_result"
        result = self.ask("query", query=of_query["expr"], time=self.end)["result"]
        # Grafana applies the regex to the series as text.
        lines = [
            "{" + ",".join(f'{name}="{value}"' for name, value in sorted(one["metric"].items())) + "}"
            for one in result
        ]
        found = [re.search(python_regex(variable.regex), line) for line in lines]
        return [match["value"] for match in found if match]


def without_data(url: str, values: Mapping[str, str], start: float, end: float) -> list[str]:
    """Every query that has no data in this time, and every variable that cannot be set to its value."""
    window = Window(url, start, end)
    empty = [str(query) for query in queries() if not window.has_data(query, values)]
    for variable in variables():
        options = window.options(variable, values)
        if values[variable.name] not in options:
            empty.append(f"{variable}: {values[variable.name]} is not among {options}")
    return empty


def main() -> int:
    """0 when every query has data."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("url")
    parser.add_argument("--last", type=float, default=300, metavar="SECONDS", help="how far back to look")
    parser.add_argument("values", nargs="+", metavar="VARIABLE=VALUE")
    arguments = parser.parse_args()
    now = time.time()
    values = dict(value.split("=", 1) for value in arguments.values)
    empty = without_data(arguments.url, values, now - arguments.last, now)
    print("\n".join(["no data:", *empty] if empty else [f"{len(list(queries()))} queries, each with data"]))
    return 1 if empty else 0


if __name__ == "__main__":
    sys.exit(main())
