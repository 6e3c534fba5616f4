"""The chart on a real cluster: what `helm test`, upgrading and uninstalling do, and what people may do."""

from __future__ import annotations

import subprocess

import pytest

from e2e.cluster import binaries
from e2e.installation import CHART, RELEASE, VALUES, Operator, helm
from e2e.kubernetes import Kubectl

# A release of the tests' own, which looks at its own namespace only: nobody else's operator is disturbed.
SECOND = "second"
DEFINITION = "customresourcedefinition.apiextensions.k8s.io/loadtests.aiotest.dev"
# Pods have 30 s to end.
GONE_SECONDS = 60


def second(namespace: Kubectl, *arguments: str) -> str:
    """helm in the test's namespace; its output."""
    where = [f"--kubeconfig={namespace.kubeconfig}", f"--namespace={namespace.namespace}"]
    command = [str(binaries.directory() / "helm"), *where, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"`helm {' '.join(arguments)}` failed: {done.stderr}{done.stdout}"
    return done.stdout


def install_second(namespace: Kubectl, *values: str) -> None:
    """Install or upgrade the second release; returns when its operator is ready."""
    settings = [*VALUES, f"watchNamespace={namespace.namespace}", *values]
    chart = ["upgrade", "--install", SECOND, str(CHART), "--take-ownership", "--wait", "--timeout=2m"]
    second(namespace, *chart, *(f"--set={setting}" for setting in settings))


def objects(cluster: Kubectl, release: str, *, namespaced: bool) -> set[str]:
    """Every object of a release in the whole cluster, as KIND/NAME."""
    kinds = cluster(
        "api-resources", f"--namespaced={str(namespaced).lower()}", "--verbs=list", "--output=name"
    )
    # Events and endpoints come and go by themselves.
    asked = [kind for kind in kinds.split() if not kind.startswith(("events", "endpoint"))]
    where = ["--all-namespaces"] if namespaced else []
    which = f"--selector=app.kubernetes.io/instance={release}"
    return set(cluster("get", ",".join(asked), which, "--output=name", *where).split())


def test_helm_test_passes_and_leaves_nothing(cluster: Kubectl, operator: Operator) -> None:
    before = objects(cluster, RELEASE, namespaced=True)
    said = helm(cluster, "test", RELEASE, "--timeout=4m")
    # The load test, the pod that waited for its verdict, and the rights to do so.
    assert said.count("Succeeded") == 5, said
    runs = ["pods", "--selector=aiotest.dev/load-test", f"--timeout={GONE_SECONDS}s"]
    operator.kubectl("wait", "--for=delete", *runs)
    assert objects(cluster, RELEASE, namespaced=True) == before


def test_an_upgrade_keeps_the_key_and_uninstalling_leaves_only_the_definition(
    cluster: Kubectl, namespace: Kubectl
) -> None:
    install_second(namespace)
    secret = namespace.get("secret", f"{SECOND}-aiotest-operator-key")["data"]
    assert secret["key"]
    install_second(namespace, "log.filter=debug")
    assert namespace.get("secret", f"{SECOND}-aiotest-operator-key")["data"] == secret
    second(namespace, "uninstall", SECOND, "--wait", "--timeout=2m")
    assert objects(cluster, SECOND, namespaced=False) == {DEFINITION}
    namespace.wait("delete", "pods", f"--selector=app.kubernetes.io/instance={SECOND}", seconds=GONE_SECONDS)
    assert objects(cluster, SECOND, namespaced=True) == set()


@pytest.mark.parametrize(("role", "may"), [("edit", {"get", "create", "patch", "delete"}), ("view", {"get"})])
@pytest.mark.usefixtures("operator")
def test_people_may_do_with_load_tests_what_their_role_says(
    namespace: Kubectl, role: str, may: set[str]
) -> None:
    person = f"{namespace.namespace}:person"
    namespace("create", "serviceaccount", "person")
    namespace("create", "rolebinding", "person", f"--clusterrole={role}", f"--serviceaccount={person}")

    def allowed(verb: str, *flags: str) -> bool:
        question = ["auth", "can-i", verb, "loadtests.aiotest.dev", *flags]
        return namespace.tried(*question, f"--as=system:serviceaccount:{person}").returncode == 0

    assert {verb for verb in ("get", "create", "patch", "delete") if allowed(verb)} == may
    assert not allowed("patch", "--subresource=status"), "the status is the operator's"
