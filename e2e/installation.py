"""The operator under test: installed once by its chart, and found again by the next session."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass

from e2e.cluster import binaries, images, layout
from e2e.kubernetes import Kubectl

RELEASE = "aiotest"
NAMESPACE = "aiotest-system"
CHART = layout.REPOSITORY / "charts/aiotest-operator"
# Small requests: everything shares two cores here, while each runner asks for a whole one by default.
VALUES = ("image.tag=dev", "runner.image.tag=dev", "runner.cpu=100m", "runner.memory=128Mi", "master.cpu=50m")


@dataclass(frozen=True)
class Operator:
    """The installed operator; `kubectl` is in its namespace."""

    kubectl: Kubectl

    @property
    def deployment(self) -> str:
        """Its Deployment, as kubectl names it."""
        return "deployment/" + self.kubectl(
            "get", "deployment", "--output=jsonpath={.items[0].metadata.name}"
        )


def install(cluster: Kubectl, *values: str) -> Operator:
    """Install or upgrade the chart, with further values; returns when the operator is ready."""
    kubectl = cluster.within(NAMESPACE)
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    cluster.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}
    )
    # The tag stays when the image changes, so the image's hash makes the pod anew.
    built = next(image for image in images.of_tests() if image.name == "aiotest-operator")
    settings = [*VALUES, f"podAnnotations.image=h{built.key()}", *values]
    helm(
        cluster,
        "upgrade",
        "--install",
        RELEASE,
        str(CHART),
        "--take-ownership",
        "--wait",
        "--timeout=2m",
        *_set(settings),
    )
    return Operator(kubectl)


def helm(cluster: Kubectl, *arguments: str) -> str:
    """helm in the operator's namespace; its output."""
    program = binaries.directory() / "helm"
    command = [str(program), f"--kubeconfig={cluster.kubeconfig}", f"--namespace={NAMESPACE}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"`helm {' '.join(arguments)}` failed: {done.stderr}{done.stdout}"
    return done.stdout


def _set(values: list[str]) -> list[str]:
    return [f"--set={value}" for value in values]
