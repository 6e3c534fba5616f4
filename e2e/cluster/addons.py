"""What runs on the cluster before any test: DNS, prometheus-operator and a Prometheus."""

from __future__ import annotations

from pathlib import Path

from e2e.cluster import layout
from e2e.cluster.shell import run, say


def apply(programs: Path) -> None:
    """Apply the manifests; the pods start while the caller goes on."""
    kubectl = _kubectl(programs)
    run(*kubectl, "apply", "--server-side", "-f", programs / "crds")
    run(*kubectl, "wait", "--for=condition=Established", "--timeout=30s", "crd", "--all")
    for manifest in sorted(layout.MANIFESTS.glob("*.yaml")):
        run(*kubectl, "apply", "--server-side", "-f", manifest)


def wait(programs: Path) -> None:
    """Wait until the nodes are Ready and everything applied runs."""
    kubectl = _kubectl(programs)
    run(*kubectl, "wait", "--for=condition=Ready", "--timeout=90s", "node", "--all")
    say("the nodes are Ready; waiting for DNS and Prometheus")
    run(*kubectl, "-n", "kube-system", "rollout", "status", "--timeout=120s", "deployment/coredns")
    monitoring = (*kubectl, "-n", "monitoring")
    run(*monitoring, "rollout", "status", "--timeout=120s", "deployment/prometheus-operator")
    run(*monitoring, "wait", "--for=condition=Available", "--timeout=120s", "prometheus/prometheus")


def _kubectl(programs: Path) -> list[str]:
    return [str(programs / "kubectl"), f"--kubeconfig={layout.KUBECONFIGS / 'admin'}"]
