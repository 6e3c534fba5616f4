"""A load in stages with a warm-up, paused and resumed by its LoadTest, over two runners."""

from __future__ import annotations

import json
import time

from e2e import loadtests, target
from e2e.installation import Operator
from e2e.kubernetes import Kubectl


def test_a_load_in_stages_can_be_paused_and_ends_when_it_should(
    namespace: Kubectl, operator: Operator
) -> None:
    counting = target.start(namespace)
    stages = [
        {"duration": "5s", "users": 10},
        {"duration": "15s", "users": 10},
        {"duration": "5s", "users": 0},
    ]
    load = {"stages": stages, "warmUp": "5s"}
    namespace.apply(loadtests.source(), loadtests.reads(counting.host, load=load))
    loadtests.running(namespace)
    want(namespace, "Paused")
    namespace.until("loadtest", lambda seen: loadtests.state(seen) == "Paused", name="reads", seconds=30)
    # Users end with the job that they are in.
    time.sleep(5)
    before = counting.count()
    time.sleep(10)
    assert counting.count() == before, "no load is sent"
    want(namespace, "Running")
    loadtests.running(namespace)
    done = loadtests.ended(namespace, seconds=25 + 2 * loadtests.AROUND)
    assert loadtests.state(done) == "Passed"
    report = loadtests.report(namespace, done)
    assert report["total"]["sent"] + report["warm_up"]["total"]["sent"] == counting.count()
    assert report["warm_up"]["duration_s"] == 5
    assert report["run"]["duration_s"] > 40, "twenty-five seconds and the pause"
    assert "the load was paused for" in report["verdict"]["reasons"][0]


def want(namespace: Kubectl, state: str) -> None:
    """Edit what the LoadTest wants of its run."""
    patch = json.dumps({"spec": {"desiredState": state}})
    namespace("patch", "loadtest/reads", "--type=merge", f"--patch={patch}")
