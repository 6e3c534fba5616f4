"""LoadTests for tests: small ones against the counting target, and what their status says.

Start at `reads`. Never waits: `kubernetes.Kubectl` does.
"""

from __future__ import annotations

import json

import yaml

from e2e import target
from e2e.cluster import layout
from e2e.kubernetes import Json, Kubectl, condition

READS = """\
from aiotest import AsyncHttpUser


class TestReader(AsyncHttpUser):
    wait_time = 0.1

    async def test_read(self):
        async with self.session.get("/json") as reply:
            await reply.json()
"""
# A warm node: from the apply to the first request, and from the last one to the verdict.
AROUND = 30


def source(name: str = "reads", text: str = READS) -> Json:
    """The ConfigMap of an aiotestfile."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name},
        "data": {"aiotestfile.py": text},
    }


def reads(host: str, name: str = "reads", *, users: int = 20, seconds: int = 10, **spec: object) -> Json:
    """A LoadTest of two runners whose users all start within a second; `spec` has further fields."""
    return {
        "apiVersion": "aiotest.dev/v1alpha1",
        "kind": "LoadTest",
        "metadata": {"name": name},
        "spec": {
            "aiotestfile": {"configMap": {"name": name}},
            "host": host,
            "load": {"constant": {"users": users, "spawnRate": users, "duration": f"{seconds}s"}},
            "runners": 2,
            **spec,
        },
    }


def example(name: str, host: str) -> list[Json]:
    """The manifests of an example, aimed at `host`."""
    folder = layout.REPOSITORY / "examples" / name
    found: list[Json] = [
        document
        for path in sorted(folder.glob("*.yaml"))
        for document in yaml.safe_load_all(path.read_text())
    ]
    for manifest in found:
        if manifest["kind"] == "LoadTest":
            manifest["spec"]["host"] = host
    return found


def begin(namespace: Kubectl, *, seconds: int, runners: int = 2) -> target.Target:
    """Start a target and the load test `reads` against it; returns once its users run."""
    counting = target.start(namespace)
    namespace.apply(source(), reads(counting.host, seconds=seconds, runners=runners))
    running(namespace)
    return counting


def running(namespace: Kubectl, name: str = "reads", seconds: float = 3 * AROUND) -> None:
    """Wait until load is sent."""
    namespace.until("loadtest", lambda seen: state(seen) == "Running", name=name, seconds=seconds)


def ended(namespace: Kubectl, name: str = "reads", *, seconds: float) -> Json:
    """Wait for the end that a pipeline waits for, whatever it is; the LoadTest as it is then."""
    namespace.wait("condition=Reconciling=False", f"loadtest/{name}", seconds=seconds)
    return namespace.get("loadtest", name)


def state(load_test: Json) -> str:
    """The STATE column."""
    reason: str = condition(load_test, "Succeeded").get("reason", "")
    return reason


def report(namespace: Kubectl, load_test: Json) -> Json:
    """The report that the operator kept."""
    kept = namespace.get("configmap", load_test["status"]["report"]["configMap"])
    found: Json = json.loads(kept["data"]["report.json"])
    return found


def pods(namespace: Kubectl, component: str) -> list[Json]:
    """The pods of `master` or `runner`."""
    return namespace.list("pods", f"app.kubernetes.io/component={component}")
