"""GitOps: applied again and again, one run and no difference."""

from __future__ import annotations

import json
import threading

from e2e import loadtests, target
from e2e.installation import Operator
from e2e.kubernetes import Json, Kubectl


def test_a_manifest_that_is_applied_for_ever_is_one_run(namespace: Kubectl, operator: Operator) -> None:
    counting = target.start(namespace)
    manifests = [loadtests.source(), loadtests.reads(counting.host, seconds=10)]
    over = threading.Event()
    failures: list[str] = []

    def heal() -> None:
        while not over.wait(2):
            failures.extend(synced(namespace, manifests))

    assert synced(namespace, manifests) == []
    healer = threading.Thread(target=heal)
    healer.start()
    try:
        done = loadtests.ended(namespace, seconds=10 + 2 * loadtests.AROUND)
        namespace.wait("condition=Complete", "job/reads-1-master", "job/reads-1-runner", seconds=120)
    finally:
        over.set()
        healer.join()
    assert failures == []
    assert synced(namespace, manifests) == []
    again = namespace.get("loadtest", "reads")
    assert again["status"] == done["status"], "a re-sync after the end starts nothing"
    assert again["metadata"]["generation"] == 1, "no difference was ever found"
    assert again["status"]["run"]["number"] == 1
    assert counting.count() == again["status"]["report"]["sent"]
    assert {job["metadata"]["name"] for job in namespace.list("jobs")} == {"reads-1-master", "reads-1-runner"}


def synced(namespace: Kubectl, manifests: list[Json]) -> list[str]:
    """Apply as Argo CD and Flux do; what went wrong."""
    wrong = []
    for manifest in manifests:
        done = namespace.tried(
            "apply",
            "--server-side",
            "--field-manager=gitops",
            "--force-conflicts",
            "--filename=-",
            stdin=json.dumps(manifest),
        )
        if done.returncode != 0:
            wrong.append(done.stderr)
    return wrong
