"""The operator's rights on a real cluster: enough and no more, by the API server's own audit log."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from e2e import loadtests, target
from e2e.cluster.__main__ import foreign_cluster
from e2e.installation import NAMESPACE, RELEASE, Operator
from e2e.kubernetes import Json, Kubectl

AUDIT = Path("/var/lib/aiotest-cluster/logs/audit.log")
Call = tuple[str, str, str]


@pytest.mark.skipif(foreign_cluster() is not None, reason="reads the API server's audit log")
def test_every_right_of_the_operator_is_used_and_no_call_is_refused(
    namespace: Kubectl, cluster: Kubectl, operator: Operator
) -> None:
    counting = target.start(namespace)
    namespace.apply(loadtests.source(), loadtests.reads(counting.host, seconds=5))
    loadtests.ended(namespace, seconds=5 + 2 * loadtests.AROUND)
    granted = set(rights(cluster))
    made, refused = calls(account(operator))
    # What the API server asks for by itself when an owner blocks deletion; what only faults need.
    implicit = {("aiotest.dev", "loadtests/finalizers", "update")}
    seldom = {("batch", "jobs", "patch"), ("", "events", "list"), ("events.k8s.io", "events", "patch")}
    assert refused == []
    assert made <= granted, "nothing is called that no rule grants"
    assert granted - made - implicit - seldom == set(), "nothing is granted that is never called"


def rights(cluster: Kubectl) -> list[Call]:
    """Group, resource and verb of everything that the operator's role grants."""
    roles = cluster.list("clusterroles", f"app.kubernetes.io/instance={RELEASE}")
    mine = [role for role in roles if "aggregationRule" not in role and not _is_aggregated(role)]
    return [
        (group, resource, verb)
        for role in mine
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    ]


def calls(account: str) -> tuple[set[Call], list[Json]]:
    """What this service account called since the cluster is up, and what of it was forbidden."""
    made: set[Call] = set()
    refused: list[Json] = []
    for line in AUDIT.read_text().splitlines():
        entry: Json = json.loads(line)
        if entry["user"]["username"] != account or "objectRef" not in entry:
            continue
        reference = entry["objectRef"]
        resource = "/".join(filter(None, [reference["resource"], reference.get("subresource")]))
        made.add((reference.get("apiGroup", ""), resource, entry["verb"]))
        # A namespace that is going refuses new events and status; that is no missing right.
        if entry.get("annotations", {}).get("authorization.k8s.io/decision") == "forbid":
            refused.append(entry)
    return made, refused


def account(operator: Operator) -> str:
    """The operator's service account, as the API server names it."""
    deployment = operator.kubectl.list("deployments")[0]
    name = deployment["spec"]["template"]["spec"]["serviceAccountName"]
    return f"system:serviceaccount:{NAMESPACE}:{name}"


def _is_aggregated(role: Json) -> bool:
    return any(key.startswith("rbac.authorization.k8s.io/aggregate-to") for key in role["metadata"]["labels"])
