"""The dashboards ask for what is exported, and their queries are asked as Grafana would. Needs no cluster."""

import re
from pathlib import Path
from typing import Any

import pytest

from e2e import dashboards
from e2e.dashboards import Variable, Window, boards, fill, queries, variables

HOUSE = Path(__file__).resolve().parent.parent
GOLDEN = (HOUSE / "runner/src/master/exporter/golden.txt").read_text()
# What the operator exports; a test beside its metrics holds the names.
OF_OPERATOR = {
    "aiotest_operator_build_info": {"version"},
    "aiotest_operator_load_tests": {"state"},
    "aiotest_operator_master_calls_total": {"call", "outcome"},
    "aiotest_operator_reconcile_duration_seconds_bucket": {"le"},
    "aiotest_operator_reconciles_total": {"outcome"},
    "aiotest_operator_writes_total": {"kind", "verb"},
}
# What the ServiceMonitor's targetLabels add.
OF_MONITOR = {"aiotest_dev_load_test", "aiotest_dev_run"}


def exported() -> dict[str, set[str]]:
    """Every series of a master and of the operator, with its labels."""
    series: dict[str, set[str]] = {}
    for name, labels in re.findall(r"^(aiotest_\w+)\{(.*)\} ", GOLDEN, re.MULTILINE):
        series.setdefault(name, set(OF_MONITOR)).update(re.findall(r'(\w+)="', labels))
    return series | OF_OPERATOR


def asked() -> list[str]:
    """The text of every query, the variables' too."""
    return [query.expr for query in queries()] + [variable.query for variable in variables()]


def test_every_series_that_is_asked_for_is_exported_and_has_the_labels() -> None:
    known = exported()
    for text in asked():
        grouped = re.findall(r"\bby \(([^)]*)\)", text)
        bare = re.sub(r"\bby \([^)]*\)", "", text)
        names = set(re.findall(r"\b(aiotest_\w+)", bare))
        assert names, text
        assert names <= known.keys(), f"{names - known.keys()} is not exported: {text}"
        labels = {label.strip() for group in grouped for label in group.split(",")}
        labels |= set(re.findall(r"[{,](\w+)=~?\"", bare))
        borne = set[str]().union(*(known[name] for name in names))
        assert labels <= borne, f"no series has {labels - borne}: {text}"


def test_the_dashboards_can_be_told_apart_and_lie_in_any_grafana() -> None:
    parsed = boards()
    assert parsed.keys() == {"run", "health"}
    assert len({board["uid"] for board in parsed.values()}) == len(parsed)
    assert {board["title"] for board in parsed.values()} == {
        "aiotest: run",
        "aiotest: generator and operator health",
    }
    for board in parsed.values():
        assert "id" not in board, "an id is one Grafana's own"
        assert board["templating"]["list"][0]["type"] == "datasource"
        sources = {
            part["datasource"]["uid"]
            for panel in board["panels"]
            for part in [panel, *panel.get("targets", [])]
            if "datasource" in part
        }
        assert sources == {"${datasource}"}
        assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


def test_every_panel_says_what_it_shows_and_overlaps_no_other() -> None:
    for board in boards().values():
        taken: set[tuple[int, int]] = set()
        for panel in board["panels"]:
            assert panel["type"] == "row" or panel["description"], panel["title"]
            place = panel["gridPos"]
            assert place["x"] + place["w"] <= 24
            cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
            assert not cells & taken, panel["title"]
            taken |= cells


def test_every_variable_that_is_used_is_defined() -> None:
    for name, board in boards().items():
        values = {variable["name"]: "x" for variable in board["templating"]["list"]}
        values |= Window("", 0, 60).builtins(5)
        for query in queries():
            if query.dashboard == name:
                assert "$" not in fill(query.expr, values)


def test_variables_are_filled_in_either_form() -> None:
    assert fill('a{b="$run",c=~"${name}"}[$__range]', {"run": "4f", "name": "x", "__range": "9s"}) == (
        'a{b="4f",c=~"x"}[9s]'
    )


def test_a_variable_without_a_value_is_named() -> None:
    with pytest.raises(KeyError, match=r"\$runner"):
        fill("a[$runner]", {"run": "4f"})


def test_a_rate_looks_back_over_four_scrapes() -> None:
    assert Window("", 100, 160).builtins(5) == {"__range": "60s", "__rate_interval": "20s"}


class Canned:
    """A Prometheus with one answer."""

    def __init__(self, data: object) -> None:
        self.data = data
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def ask(self, path: str, **parameters: Any) -> object:
        """Remembers what was asked."""
        self.asked.append((path, parameters))
        return self.data


@pytest.mark.parametrize(
    ("values", "has"), [([], False), ([[1, "NaN"]], False), ([[1, "NaN"], [2, "0"]], True)]
)
def test_a_number_is_data_even_zero(monkeypatch: pytest.MonkeyPatch, values: list[Any], has: bool) -> None:
    canned = Canned({"result": [{"metric": {}, "values": values}]})
    monkeypatch.setattr(Window, "ask", lambda _, path, **parameters: canned.ask(path, **parameters))
    query = dashboards.Query("run", "p", 'rate(a{run="$run"}[$__rate_interval])', False, 5)
    assert Window("", 10, 20).has_data(query, {"run": "4f"}) is has
    ((path, parameters),) = canned.asked
    assert (path, parameters["query"]) == ("query_range", 'rate(a{run="4f"}[20s])')


def test_a_run_is_chosen_by_its_number_and_told_by_its_id(monkeypatch: pytest.MonkeyPatch) -> None:
    canned = Canned(
        {"result": [{"metric": {"run": "4f1c", "aiotest_dev_run": "3"}}, {"metric": {"run": "77"}}]}
    )
    monkeypatch.setattr(Window, "ask", lambda _, path, **parameters: canned.ask(path, **parameters))
    (run,) = (variable for variable in variables() if (variable.dashboard, variable.name) == ("run", "run"))
    assert Window("", 0, 60).options(run, {"namespace": "shop", "load_test": "checkout"}) == ["4f1c", "77"]
    shown = re.search(dashboards.python_regex(run.regex), '{aiotest_dev_run="3",run="4f1c"}')
    assert shown
    assert shown["text"] == "3"


def test_label_values_are_asked_of_the_series(monkeypatch: pytest.MonkeyPatch) -> None:
    canned = Canned(["checkout"])
    monkeypatch.setattr(Window, "ask", lambda _, path, **parameters: canned.ask(path, **parameters))
    variable = Variable("run", "load_test", 'label_values(a{namespace="$namespace"}, loadtest)', "")
    assert Window("", 0, 60).options(variable, {"namespace": "shop"}) == ["checkout"]
    ((path, parameters),) = canned.asked
    assert (path, parameters["match[]"]) == ("label/loadtest/values", 'a{namespace="shop"}')
