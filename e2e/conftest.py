"""What every test on a cluster gets. A test names what it needs:

    def test_a_load_test_passes(namespace: Kubectl, operator: Operator, prometheus: Prometheus) -> None:
        target = e2e.target.start(namespace)
        namespace.apply(load_test("reads", host=target.host))   # YAML, an object, or a Path
        namespace.wait("condition=Reconciling=False", "loadtest/reads", seconds=60)
        verdict = namespace.get("loadtest", "reads")["status"]["verdict"]
        assert verdict["result"] == "Passed"
        assert target.count() == prometheus.value('max(aiotest_requests_total{namespace="…"})')

`namespace` is a new one that admits `restricted` pods only; it goes when the test has passed, and with
AIOTEST_E2E_KEEP=1 it stays. Wait with `wait` (kubectl wait), `until` (a watch) or `prometheus.until`, each
with a deadline; never sleep. When a test fails, what a person would ask for is printed with it: LoadTests
with their conditions, events, pods, logs.

The cluster is the one of `make cluster`, or that of KUBECONFIG. Run some tests with `make cluster load`, then
`.venv/bin/python -m pytest -c runner/pyproject.toml e2e -k NAME`.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from e2e import evidence
from e2e import prometheus as asking
from e2e.cluster import binaries, layout
from e2e.cluster.__main__ import foreign_cluster
from e2e.installation import Operator, install
from e2e.kubernetes import Kubectl
from e2e.prometheus import Prometheus

# Where Prometheus is: NAMESPACE/SERVICE:PORT.
PROMETHEUS = os.environ.get("AIOTEST_PROMETHEUS", "monitoring/prometheus:9090")
FAILED = pytest.StashKey[bool]()
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}


@pytest.fixture(scope="session")
def cluster() -> Kubectl:
    """kubectl, without a namespace."""
    kubeconfig = Path(foreign_cluster() or layout.KUBECONFIG)
    if not kubeconfig.exists():
        pytest.fail("no cluster is up: `make cluster`", pytrace=False)
    return Kubectl(binaries.directory() / "kubectl", kubeconfig)


@pytest.fixture(scope="session")
def operator(cluster: Kubectl) -> Operator:
    """The operator, installed by its chart, from the images that `make images` built."""
    return install(cluster)


@pytest.fixture(scope="session")
def prometheus(cluster: Kubectl) -> Iterator[Prometheus]:
    """The Prometheus that scrapes every ServiceMonitor."""
    with asking.through(cluster, PROMETHEUS) as found:
        yield found


@pytest.fixture
def namespace(cluster: Kubectl, request: pytest.FixtureRequest) -> Iterator[Kubectl]:
    """kubectl in a new namespace of the test's own."""
    inside = new_namespace(cluster, request.node.name)
    yield inside
    if request.node.stash.get(FAILED, False):
        operator = request.node.funcargs.get("operator")
        print(evidence.of(inside, operator.kubectl if operator else None))
    remove_namespace(inside)


@pytest.fixture
def other_namespace(cluster: Kubectl, request: pytest.FixtureRequest) -> Iterator[Kubectl]:
    """A second one."""
    inside = new_namespace(cluster, request.node.name)
    yield inside
    if request.node.stash.get(FAILED, False):
        print(evidence.of(inside, None))
    remove_namespace(inside)


def new_namespace(cluster: Kubectl, test: str) -> Kubectl:
    """Make a namespace whose name tells the test."""
    words = re.sub(r"[^a-z0-9]+", "-", test.removeprefix("test_").lower())[:40].strip("-")
    inside = cluster.within(f"e2e-{words}-{secrets.token_hex(2)}")
    name = inside.namespace
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": RESTRICTED}})
    return inside


def remove_namespace(inside: Kubectl) -> None:
    """Let it go, with everything in it; the next test doesn't wait for that."""
    if not os.environ.get("AIOTEST_E2E_KEEP"):
        inside("delete", "namespace", inside.namespace, "--wait=false")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Remember whether the test failed, for the fixtures that it used."""
    report = yield
    if call.when != "teardown" and report.failed:
        item.stash[FAILED] = True
    return report
