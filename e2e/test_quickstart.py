"""The main job: apply, a verdict, the same count everywhere."""

from __future__ import annotations

import time

from e2e import dashboards, loadtests, target
from e2e.installation import Operator
from e2e.kubernetes import Kubectl, condition
from e2e.prometheus import Prometheus

SCRAPES = 40
COLUMNS = ["NAME", "STATE", "USERS", "RPS", "FAIL", "P95", "RUNNERS", "VERDICT", "AGE"]


def test_quickstart_passes_and_everybody_counts_the_same(
    namespace: Kubectl, operator: Operator, prometheus: Prometheus
) -> None:
    counting = target.start(namespace)
    began, applied = time.monotonic(), time.time()
    namespace.apply(*loadtests.example("quickstart", counting.host))
    loadtests.running(namespace, "quickstart")
    listed = namespace("get", "lt", "quickstart")
    done = loadtests.ended(namespace, "quickstart", seconds=15 + 2 * loadtests.AROUND)
    took = time.monotonic() - began
    print(f"quickstart: {took:.1f} s from the apply to the verdict, of which 15 s of load")

    assert loadtests.state(done) == "Passed"
    assert condition(done, "Succeeded")["status"] == "True"
    assert [threshold["passed"] for threshold in done["status"]["verdict"]["thresholds"]] == [True, True]
    assert took <= 15 + loadtests.AROUND
    assert listed.split("\n")[0].split() == COLUMNS
    assert done["status"]["live"]["users"] > 0

    sent = done["status"]["report"]["sent"]
    kept = loadtests.report(namespace, done)
    assert counting.count() == sent == kept["total"]["sent"]
    assert len(kept["runners"]) == 2
    assert kept["gaps"] == []
    mine = f'aiotest_requests_sent_total{{namespace="{namespace.namespace}"}}'
    series = f"sum(max_over_time({mine}[5m]))"
    assert prometheus.until(series, lambda value: value >= sent, seconds=SCRAPES) == sent

    values = {"namespace": namespace.namespace, "load_test": "quickstart", "run": kept["run"]["id"]}
    assert dashboards.without_data(prometheus.url, values, applied - 30, time.time()) == []


def test_a_failed_threshold_stalls_with_the_measured_value(namespace: Kubectl, operator: Operator) -> None:
    counting = target.start(namespace)
    impossible = [{"expr": "p50 < 1us"}]
    namespace.apply(loadtests.source(), loadtests.reads(counting.host, seconds=5, thresholds=impossible))
    done = loadtests.ended(namespace, seconds=5 + 2 * loadtests.AROUND)
    assert (condition(done, "Succeeded")["status"], condition(done, "Stalled")["status"]) == ("False", "True")
    threshold = done["status"]["verdict"]["thresholds"][0]
    assert threshold["passed"] is False
    assert threshold["value"].endswith(("us", "ms")), threshold
    assert counting.count() == done["status"]["report"]["sent"]


def test_two_load_tests_at_once_do_not_touch_each_other(
    namespace: Kubectl, other_namespace: Kubectl, operator: Operator
) -> None:
    both = [(inside, target.start(inside)) for inside in (namespace, other_namespace)]
    for inside, counting in both:
        inside.apply(loadtests.source(), loadtests.reads(counting.host, seconds=8))
    for inside, counting in both:
        done = loadtests.ended(inside, seconds=8 + 3 * loadtests.AROUND)
        assert loadtests.state(done) == "Passed"
        assert counting.count() == done["status"]["report"]["sent"] > 0


def test_a_run_writes_no_more_than_it_has_to(namespace: Kubectl, operator: Operator) -> None:
    loadtests.begin(namespace, seconds=30)
    seen: list[str] = []

    def look(load_test: dict[str, object]) -> bool:
        metadata = load_test["metadata"]
        assert isinstance(metadata, dict)
        seen.append(metadata["resourceVersion"])
        return loadtests.state(load_test) not in ("Waiting", "Running")

    namespace.until("loadtest", look, name="reads", seconds=60)
    # Figures every ten seconds, and what else became new.
    assert len(set(seen)) <= 30 / 10 + 3, seen
    done = loadtests.ended(namespace, seconds=loadtests.AROUND)
    version = done["metadata"]["resourceVersion"]
    namespace.wait("condition=Complete", "job/reads-1-master", "job/reads-1-runner", seconds=120)
    assert namespace.get("loadtest", "reads")["metadata"]["resourceVersion"] == version, (
        "idle means no writes"
    )
    reasons = [
        event["reason"] for event in namespace.list("events") if event["involvedObject"]["kind"] == "LoadTest"
    ]
    assert len(reasons) == len(set(reasons)), f"one event for each transition: {reasons}"
    assert {"Running", "Passed"} <= set(reasons)
