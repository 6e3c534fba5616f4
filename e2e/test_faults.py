"""Faults in mid-run: nothing is lost silently, and no load is left running."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from e2e import loadtests
from e2e.cluster.__main__ import foreign_cluster
from e2e.installation import Operator
from e2e.kubernetes import Kubectl


def test_a_deleted_runner_pod_is_replaced_and_the_gap_is_stated(
    namespace: Kubectl, operator: Operator
) -> None:
    counting = loadtests.begin(namespace, seconds=40)
    victim = loadtests.pods(namespace, "runner")[0]["metadata"]["name"]
    namespace("delete", "pod", victim, "--wait=false")
    done = loadtests.ended(namespace, seconds=40 + 2 * loadtests.AROUND)
    kept = loadtests.report(namespace, done)
    assert counting.count() == done["status"]["report"]["sent"]
    names = {runner["id"] for runner in kept["runners"]}
    assert victim in names
    assert len(names) == 3, "the pod was replaced"
    for gap in kept["gaps"]:
        assert (gap["runner"], gap["lost_at_most"]) == (victim, 0)
    assert loadtests.state(done) == "Passed", done["status"]["verdict"]


@pytest.mark.skipif(
    foreign_cluster() is not None, reason="kills a process of the node, which must be this machine"
)
def test_a_killed_master_goes_on_and_counts_exactly(namespace: Kubectl, operator: Operator) -> None:
    counting = loadtests.begin(namespace, seconds=25)
    master = loadtests.pods(namespace, "master")[0]
    os.kill(process_of(master), signal.SIGKILL)
    namespace.until(
        "pods",
        lambda pod: (
            pod["status"]["containerStatuses"][0]["restartCount"] == 1
            and pod["status"]["containerStatuses"][0]["ready"]
        ),
        name=master["metadata"]["name"],
        seconds=loadtests.AROUND,
    )
    before = counting.count()
    done = loadtests.ended(namespace, seconds=25 + 2 * loadtests.AROUND)
    assert counting.count() == done["status"]["report"]["sent"] > before, "load went on"
    assert loadtests.state(done) == "Passed", done["status"]["verdict"]


def test_an_operator_that_was_away_all_the_time_gives_the_verdict_when_it_is_back(
    namespace: Kubectl, operator: Operator
) -> None:
    counting = loadtests.begin(namespace, seconds=12)
    operator.kubectl("scale", operator.deployment, "--replicas=0")
    try:
        namespace.until(
            "pods",
            lambda pod: pod["status"]["phase"] == "Succeeded",
            selector="app.kubernetes.io/component=runner",
            seconds=12 + 2 * loadtests.AROUND,
        )
        assert loadtests.state(namespace.get("loadtest", "reads")) == "Running", "nobody looks"
    finally:
        operator.kubectl("scale", operator.deployment, "--replicas=1")
    done = loadtests.ended(namespace, seconds=2 * loadtests.AROUND)
    assert loadtests.state(done) == "Passed", done["status"]["verdict"]
    assert counting.count() == done["status"]["report"]["sent"]
    namespace.wait("condition=Complete", "job/reads-1-master", "job/reads-1-runner", seconds=120)


def test_a_deleted_load_test_sends_its_last_request_within_five_seconds(
    namespace: Kubectl, operator: Operator
) -> None:
    counting = loadtests.begin(namespace, seconds=120)
    namespace("delete", "loadtest", "reads", "--wait=false")
    deleted = time.monotonic()
    last, moved = counting.count(), deleted
    while time.monotonic() < deleted + 12:
        now = counting.count()
        if now != last:
            last, moved = now, time.monotonic()
    print(f"the last request came {moved - deleted:.1f} s after the deletion")
    assert moved - deleted <= 5
    namespace.wait("delete", "pod", "--selector=app.kubernetes.io/managed-by=aiotest-operator", seconds=90)
    left = namespace(
        "get", "jobs,services,secrets,pods", "--selector=app.kubernetes.io/managed-by", "--output=name"
    )
    assert left == ""


def process_of(pod: dict[str, object]) -> int:
    """The first process of the master's container, as this machine sees it."""
    status = pod["status"]
    assert isinstance(status, dict)
    container = status["containerStatuses"][0]["containerID"].removeprefix("containerd://")
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            groups = (entry / "cgroup").read_text()
            if container in groups and b"master" in (entry / "cmdline").read_bytes():
                return int(entry.name)
        except OSError:
            continue
    raise AssertionError(f"no process of container {container} on this machine")
