"""A target that counts: nginx, which writes a line for each request; nobody else asks it (no probes)."""

from __future__ import annotations

import time
from dataclasses import dataclass

from e2e.kubernetes import Json, Kubectl

PORT = 8080
SECONDS_TO_START = 60
# What the `restricted` standard wants of a container.
RESTRICTED: Json = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


@dataclass(frozen=True)
class Target:
    """A running target of one namespace."""

    kubectl: Kubectl
    name: str

    @property
    def host(self) -> str:
        """What a LoadTest's `host` says."""
        return f"http://{self.name}.{self.kubectl.namespace}.svc:{PORT}"

    def count(self, pattern: str = "") -> int:
        """How many requests it has answered; those whose line matches, such as `^503 GET /status`.

        A line is `STATUS METHOD URI USER-AGENT`.
        """
        # grep ends with 1 when nothing matches, and prints 0.
        done = self.kubectl.tried("exec", self.name, "--", "/bin/grep", "-c", "-e", pattern, "/log/requests")
        assert done.returncode in (0, 1), done.stderr
        return int(done.stdout)


def start(kubectl: Kubectl, name: str = "target") -> Target:
    """Start one in kubectl's namespace, with a Service of its name; returns when it listens."""
    labels = {"app": name}
    volumes = ["tmp", "log"]
    container: Json = {
        "name": "nginx",
        "image": "localhost/nginx:dev",
        "imagePullPolicy": "IfNotPresent",
        "resources": {"requests": {"cpu": "50m", "memory": "32Mi"}},
        "securityContext": RESTRICTED,
        "volumeMounts": [{"name": volume, "mountPath": f"/{volume}"} for volume in volumes],
    }
    pod: Json = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "automountServiceAccountToken": False,
            "containers": [container],
            "volumes": [{"name": volume, "emptyDir": {}} for volume in volumes],
        },
    }
    service: Json = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": labels, "ports": [{"port": PORT, "targetPort": PORT}]},
    }
    kubectl.apply(pod, service)
    kubectl.wait("condition=Ready", f"pod/{name}", seconds=SECONDS_TO_START)
    # nginx writes its pid after it has begun to listen. Asking takes the while that there is between two
    # questions.
    deadline = time.monotonic() + SECONDS_TO_START
    while kubectl.tried("exec", name, "--", "/usr/bin/test", "-e", "/log/nginx.pid").returncode != 0:
        assert time.monotonic() < deadline, "nginx doesn't listen"
    return Target(kubectl, name)
