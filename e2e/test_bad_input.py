"""Bad input: a condition with the cluster's own words, no load, and no wait without an end."""

from __future__ import annotations

import time

import pytest

from e2e import loadtests, target
from e2e.installation import Operator, install
from e2e.kubernetes import Json, Kubectl, condition

NOWHERE = "http://nowhere.invalid"
ROWS = {"name": "accounts", "configMap": {"name": "rows", "key": "a.csv"}}


def stands(namespace: Kubectl, reason: str, *, seconds: float = 30) -> str:
    """Wait for a reason of Reconciling; its message."""
    seen = namespace.until(
        "loadtest",
        lambda load_test: condition(load_test, "Reconciling").get("reason") == reason,
        name="reads",
        seconds=seconds,
    )
    message: str = condition(seen, "Reconciling")["message"]
    return message


def not_started(namespace: Kubectl, *, seconds: float) -> str:
    """Wait for NotStarted; its reasons."""
    done = loadtests.ended(namespace, seconds=seconds)
    assert loadtests.state(done) == "NotStarted"
    assert condition(done, "Stalled")["status"] == "True"
    return " ".join(done["status"]["verdict"]["reasons"])


def test_a_missing_config_map_is_waited_for_and_the_run_goes_on_by_itself(
    namespace: Kubectl, operator: Operator
) -> None:
    counting = target.start(namespace)
    namespace.apply(loadtests.reads(counting.host, seconds=5))
    assert "there is no ConfigMap `reads`" in stands(namespace, "SourceMissing")
    namespace.apply({**loadtests.source(), "data": {"other.py": "pass"}})
    namespace.until(
        "loadtest",
        lambda seen: "no key `aiotestfile.py`" in condition(seen, "Reconciling").get("message", ""),
        name="reads",
        seconds=20,
    )
    namespace.apply(loadtests.source())
    assert loadtests.state(loadtests.ended(namespace, seconds=60)) == "Passed"


def test_a_config_map_that_never_comes_is_not_started(namespace: Kubectl, operator: Operator) -> None:
    namespace.apply(loadtests.reads(NOWHERE, deadlines={"startup": "5s"}))
    reasons = not_started(namespace, seconds=30)
    assert "deadlines.startup (5s)" in reasons
    assert "there is no ConfigMap `reads`" in reasons
    namespace.apply(loadtests.source())
    assert namespace.list("jobs") == [], "after the verdict nothing is begun"


def test_a_syntax_error_is_told_with_file_and_line_and_no_runner_exists(
    namespace: Kubectl, operator: Operator
) -> None:
    namespace.apply(loadtests.source(text="from aiotest import User\n\nclass TestX(User:\n"))
    began = time.monotonic()
    namespace.apply(loadtests.reads(NOWHERE))
    reasons = not_started(namespace, seconds=60)
    print(f"refused {time.monotonic() - began:.1f} s after the apply")
    assert "aiotestfile.py:3" in reasons
    accepted = condition(namespace.get("loadtest", "reads"), "Accepted")
    assert (accepted["status"], accepted["reason"]) == ("False", "ScriptRefused")
    assert [job["metadata"]["name"] for job in namespace.list("jobs")] == ["reads-1-master"]


def test_an_exceeded_quota_is_told_in_the_clusters_words(namespace: Kubectl, operator: Operator) -> None:
    quota: Json = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "few"},
        "spec": {"hard": {"pods": "1"}},
    }
    namespace.apply(quota, loadtests.source(), loadtests.reads(NOWHERE, deadlines={"startup": "25s"}))
    assert "exceeded quota: few" in stands(namespace, "PodsNotCreated")
    assert "runner processes joined within the startup deadline" in not_started(namespace, seconds=90)


def test_a_name_that_is_somebody_elses_is_left_alone(namespace: Kubectl, operator: Operator) -> None:
    service: Json = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "reads-1-master"},
        "spec": {"ports": [{"port": 80}]},
    }
    namespace.apply(service, loadtests.source(), loadtests.reads(NOWHERE, deadlines={"startup": "5s"}))
    assert "Service `reads-1-master`" in stands(namespace, "NameConflict")
    assert "Service `reads-1-master`" in not_started(namespace, seconds=30)
    assert namespace.list("jobs") == []
    assert namespace.get("service", "reads-1-master")["spec"]["ports"][0]["port"] == 80


@pytest.mark.long
def test_pods_that_cannot_run_are_told_of_and_given_up(
    namespace: Kubectl, other_namespace: Kubectl, cluster: Kubectl, operator: Operator
) -> None:
    deadlines = {"startup": "20s"}
    try:
        install(cluster, "runner.image.tag=none", "runner.image.pullPolicy=Never")
        namespace.apply(loadtests.source(), loadtests.reads(NOWHERE, deadlines=deadlines))
        assert "is not present" in stands(namespace, "ErrImageNeverPull")
        install(cluster, "runner.cpu=1000")
        other_namespace.apply(loadtests.source(), loadtests.reads(NOWHERE, deadlines=deadlines))
        assert "Insufficient cpu" in stands(other_namespace, "Unschedulable")
        not_started(namespace, seconds=60)
        not_started(other_namespace, seconds=90)
    finally:
        install(cluster)
    # Nothing is left that could still start.
    namespace.wait("condition=Failed", "job/reads-1-master", seconds=60)
    other_namespace.wait("condition=Failed", "job/reads-1-runner", seconds=60)
    other_namespace.wait("condition=Complete", "job/reads-1-master", seconds=120)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"load": {}}, "exactly one of constant, stages, arrivals and shape must be given"),
        ({"load": {"stages": [{"duration": "0s", "users": 9}]}}, "or there is no load"),
        (
            {"load": {"stages": [{"duration": "5s", "users": 9}], "warmUp": "5s"}},
            "warmUp must be shorter than the stages together",
        ),
        (
            {"load": {"stages": [{"duration": "6s", "users": 9}] * 2}, "deadlines": {"run": "11s"}},
            "the durations of load.stages together",
        ),
        ({"desiredState": "Resting"}, "spec.desiredState"),
        ({"aiotestfile": {}}, "exactly one of configMap and inline must be given"),
        ({"runners": 0}, "spec.runners"),
        ({"thresholds": [{"expr": "p95 < soon"}]}, "spec.thresholds[0].expr"),
        (
            {"load": {"constant": {"users": 10, "spawnRate": 1, "duration": "5s"}}},
            "users divided by spawnRate",
        ),
        ({"deadlines": {"run": "1s"}}, "deadlines.run must be at least"),
        ({"data": [ROWS, ROWS]}, "data must have no two sets of one name"),
        ({"data": [{**ROWS, "configMap": {"name": "r", "key": "a.txt"}}]}, "spec.data[0].configMap.key"),
        ({"user": 3}, 'unknown field "spec.user"'),
    ],
)
def test_a_spec_that_cannot_be_is_refused_by_the_api_server(
    cluster: Kubectl, operator: Operator, change: Json, words: str
) -> None:
    assert words in cluster.within("default").refusal(loadtests.reads(NOWHERE, **change))
