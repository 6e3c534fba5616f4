"""The cluster itself: what the tests of the operator take for granted."""

from __future__ import annotations

from e2e import target
from e2e.kubernetes import Json, Kubectl, condition
from e2e.prometheus import Prometheus

SCRAPED = 'max(scrape_samples_scraped{job="prometheus-operated"})'
PYTHON = ("/opt/aiotest/bin/python", "-c")
ASK = "import sys, urllib.request; [urllib.request.urlopen(url).read() for url in sys.argv[1:]]"
RESOLVE = """\
import socket, sys
try:
    socket.getaddrinfo(sys.argv[1], 80)
except socket.gaierror as error:
    print(error.errno == socket.EAI_NONAME)
"""


def pod(name: str, *command: str, security: Json | None = target.RESTRICTED) -> Json:
    """A pod of the runner's image that runs one command and ends."""
    container: Json = {"name": "main", "image": "localhost/aiotest-runner:dev", "command": list(command)}
    if security is not None:
        container["securityContext"] = security
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"restartPolicy": "Never", "automountServiceAccountToken": False, "containers": [container]},
    }


def log_of_finished(namespace: Kubectl, name: str) -> str:
    """What a pod has said, once it has ended, which must be well."""
    ended = namespace.until(
        "pods", lambda pod: pod["status"]["phase"] in ("Succeeded", "Failed"), name=name, seconds=60
    )
    assert ended["status"]["phase"] == "Succeeded", namespace("logs", name)
    return namespace("logs", name)


def test_every_node_is_ready(cluster: Kubectl) -> None:
    nodes = cluster.list("nodes")
    assert nodes
    assert {condition(node, "Ready")["status"] for node in nodes} == {"True"}


def test_a_pod_of_the_restricted_standard_runs_and_its_log_can_be_read(namespace: Kubectl) -> None:
    namespace.apply(pod("speaker", "/bin/echo", "heard"))
    assert log_of_finished(namespace, "speaker") == "heard\n"


def test_a_pod_below_the_restricted_standard_is_refused(namespace: Kubectl) -> None:
    refusal = namespace.refusal(pod("careless", "/bin/true", security=None))
    assert 'violates PodSecurity "restricted:latest"' in refusal


def test_a_service_is_found_by_name_and_every_request_is_counted(namespace: Kubectl) -> None:
    counting = target.start(namespace)
    urls = [f"{counting.host}/{path}" for path in ("", "json", "json?again")]
    assert counting.count() == 0
    namespace.apply(pod("asker", *PYTHON, ASK, *urls))
    assert log_of_finished(namespace, "asker") == ""
    assert (counting.count(), counting.count("^200 GET /json")) == (3, 2)


def test_a_name_that_nothing_has_does_not_exist(namespace: Kubectl) -> None:
    namespace.apply(pod("resolver", *PYTHON, RESOLVE, f"nobody.{namespace.namespace}.svc"))
    assert log_of_finished(namespace, "resolver") == "True\n"


def test_a_watch_sees_what_comes(namespace: Kubectl) -> None:
    namespace.apply(pod("speaker", "/bin/echo", "heard"))
    seen = namespace.until("pods", lambda pod: pod["status"]["phase"] == "Succeeded", seconds=60)
    assert seen["metadata"]["name"] == "speaker"


def test_prometheus_scrapes_what_a_monitor_of_any_namespace_names(
    namespace: Kubectl, prometheus: Prometheus
) -> None:
    monitor: Json = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "ServiceMonitor",
        "metadata": {"name": "prometheus"},
        "spec": {
            "namespaceSelector": {"any": True},
            "selector": {"matchLabels": {"operated-prometheus": "true"}},
            "endpoints": [{"port": "web", "interval": "1s"}],
        },
    }
    namespace.apply(monitor)
    prometheus.until(SCRAPED, lambda samples: samples > 0, seconds=120)
