"""What a person would ask for when a test has failed: conditions, events, pods, logs."""

from __future__ import annotations

from e2e.kubernetes import Kubectl

LINES_OF_POD = 60
LINES_OF_OPERATOR = 40
OPERATOR = "app.kubernetes.io/name=aiotest-operator"


def of(kubectl: Kubectl, operator: Kubectl | None) -> str:
    """The evidence in kubectl's namespace, and the operator's log where there is one."""
    parts = [
        _part(kubectl, "LoadTests", "get", "loadtests", "--output=yaml") if operator else "",
        _part(kubectl, "everything", "get", "jobs,pods,services,configmaps,secrets", "--output=wide"),
        _part(kubectl, "events", "get", "events", "--sort-by=.lastTimestamp"),
    ]
    for pod in kubectl("get", "pods", "--output=name").split():
        parts.append(_part(kubectl, f"state of {pod}", "describe", pod, "--show-events=false"))
        log = ["logs", pod, "--all-containers", "--prefix", f"--tail={LINES_OF_POD}"]
        parts.append(_part(kubectl, f"log of {pod}", *log))
        restarts = kubectl.tried("get", pod, "--output=jsonpath={.status.containerStatuses[*].restartCount}")
        if restarts.stdout.strip(" 0"):
            parts.append(_part(kubectl, f"log of {pod}, before its restart", *log, "--previous"))
    if operator is not None:
        parts.append(_part(operator, "the operator's pods", "get", "pods", "--output=wide"))
        parts.append(_log_about(kubectl.namespace, operator))
    return "\n".join(part for part in parts if part)


def _log_about(namespace: str, operator: Kubectl) -> str:
    """The operator's last lines that name the namespace, and its last warnings."""
    log = operator.tried("logs", f"--selector={OPERATOR}", "--tail=-1")
    ours = [line for line in log.stdout.splitlines() if namespace in line or '"INFO"' not in line]
    return "\n".join(
        ["=== the operator's log, what names the namespace", *ours[-LINES_OF_OPERATOR:], log.stderr]
    )


def _part(kubectl: Kubectl, title: str, *arguments: str) -> str:
    done = kubectl.tried(*arguments)
    title = f"{title} (kubectl {' '.join(arguments[:2])}, namespace {kubectl.namespace})"
    return f"=== {title}\n{done.stdout}{done.stderr}"
