"""What the chart installs: enough for the operator, and no more."""

import base64
import re
import tomllib

import pytest
import yaml
from rendering import (
    CHART,
    HOUSE,
    MONITORING,
    Manifest,
    flag,
    helm,
    installed,
    is_hook,
    only,
    pod_specs,
    render,
    text,
    unknown_fields,
)

PROFILES: dict[str, tuple[str, ...]] = {
    "defaults": (),
    "with-prometheus": (MONITORING, "--set=serviceMonitor.labels.release=stack"),
    "one-namespace": ("--set=watchNamespace=shop", MONITORING),
    "least": (
        "--set=crds.enabled=false,aggregatedRoles.enabled=false,dashboards.enabled=false",
        "--set=serviceMonitor.enabled=false,key.existingSecret=ours",
    ),
    "everything": (
        MONITORING,
        "--set=imagePullSecrets[0].name=registry,nodeSelector.pool=system,tolerations[0].key=system",
        "--set=podLabels.team=load,podAnnotations.why=because,resources.limits.memory=1Gi",
        "--set=affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0]"
        ".matchExpressions[0].key=pool",
    ),
}
profiles = pytest.mark.parametrize("flags", PROFILES.values(), ids=PROFILES)


def operator_rules(manifests: list[Manifest]) -> list[Manifest]:
    """What the operator may do in the whole cluster."""
    bound = only("ClusterRoleBinding", manifests)["roleRef"]["name"]
    (role,) = (role for role in installed("ClusterRole", manifests) if role["metadata"]["name"] == bound)
    rules: list[Manifest] = role["rules"]
    return rules


@profiles
def test_lint_has_nothing_to_say(flags: tuple[str, ...]) -> None:
    settings = [setting for setting in flags if setting != MONITORING]
    done = helm("lint", "--strict", str(CHART), "--kube-version=1.34.4", *settings)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[WARNING]" not in done.stdout, done.stdout


@profiles
def test_every_pod_is_admitted_by_the_restricted_standard(flags: tuple[str, ...]) -> None:
    pods = pod_specs(render(*flags))
    assert len(pods) == 2, "the operator's, and that of helm test"
    for pod in pods:
        context = pod["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["runAsUser"] not in (None, 0)
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not pod.get("hostNetwork")
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert "memory" in container["resources"]["limits"]
            assert "cpu" not in container["resources"]["limits"]


@profiles
def test_every_rule_says_why_and_none_has_a_wildcard(flags: tuple[str, ...]) -> None:
    rendered = text(*flags)
    above = ""
    for line in rendered.splitlines():
        if re.match(r"\s*- apiGroups:", line):
            assert above.startswith("# "), f"a rule without its reason: {line}"
        above = line.strip()
    for role in (manifest for manifest in render(*flags) if manifest["kind"] in {"Role", "ClusterRole"}):
        for rule in role["rules"]:
            said = rule["apiGroups"] + rule["resources"] + rule["verbs"]
            assert not [word for word in said if "*" in word]
            assert not {"escalate", "bind", "impersonate"} & set(rule["verbs"])
            if "secrets" in rule["resources"]:
                assert (rule["resources"], rule["verbs"]) == (["secrets"], ["create"])


def test_the_operators_rules_are_these() -> None:
    rules = operator_rules(render())
    assert [(*rule["apiGroups"], *rule["resources"], " ".join(rule["verbs"])) for rule in rules] == [
        ("aiotest.dev", "loadtests", "get list watch"),
        ("aiotest.dev", "loadtests/status", "patch"),
        ("aiotest.dev", "loadtests/finalizers", "update"),
        ("", "configmaps", "get create"),
        ("", "services", "get create"),
        ("", "secrets", "create"),
        ("batch", "jobs", "get list watch create patch"),
        ("", "pods", "list watch"),
        ("", "events", "list"),
        ("events.k8s.io", "events", "create patch"),
    ]


def test_the_operator_of_one_namespace_gets_no_right_outside_it() -> None:
    manifests = render(*PROFILES["one-namespace"])
    assert flag("watch-namespace", manifests) == "shop"
    assert flag("watch-namespace", render()) is None
    assert not installed("ClusterRoleBinding", manifests)
    role, binding = only("Role", manifests), only("RoleBinding", manifests)
    assert role["metadata"]["namespace"] == binding["metadata"]["namespace"] == "shop"
    assert role["rules"] == operator_rules(render())
    assert binding["subjects"][0]["namespace"] == "aiotest"
    masters, _ = installed("ServiceMonitor", manifests)
    assert masters["spec"]["namespaceSelector"] == {"matchNames": ["shop"]}


def test_people_get_load_tests_with_their_usual_roles() -> None:
    roles = {
        role["metadata"]["name"].rpartition("-")[2]: role
        for role in installed("ClusterRole", render())
        if role["metadata"]["name"].endswith(("-edit", "-view"))
    }
    to = "rbac.authorization.k8s.io/aggregate-to-"
    assert {label for label in roles["edit"]["metadata"]["labels"] if to in label} == {
        f"{to}edit",
        f"{to}admin",
    }
    assert {label for label in roles["view"]["metadata"]["labels"] if to in label} == {f"{to}view"}
    for rule in roles["view"]["rules"]:
        assert set(rule["verbs"]) == {"get", "list", "watch"}


def test_the_definition_is_the_generated_one_and_stays_when_the_chart_goes() -> None:
    generated = (HOUSE / "crds/loadtests.aiotest.dev.yaml").read_text()
    copy = (CHART / "files/loadtests.aiotest.dev.yaml").read_text()
    assert copy == generated, "the chart's copy of crds/ is another: run `make generate`"
    definition = only("CustomResourceDefinition", render())
    metadata = definition.pop("metadata")
    assert metadata["annotations"] == {"helm.sh/resource-policy": "keep"}
    wanted = yaml.safe_load(generated)
    assert metadata["name"] == wanted.pop("metadata")["name"]
    assert definition == wanted
    assert not installed("CustomResourceDefinition", render(*PROFILES["least"]))


def test_monitors_need_their_api() -> None:
    assert not installed("ServiceMonitor", render())
    assert not installed("ServiceMonitor", render(MONITORING, "--set=serviceMonitor.enabled=false"))
    monitors = installed("ServiceMonitor", render(*PROFILES["with-prometheus"]))
    assert len(monitors) == 2
    assert {monitor["metadata"]["labels"]["release"] for monitor in monitors} == {"stack"}


def test_the_monitor_finds_every_master_and_tells_two_tests_apart() -> None:
    masters, operator = (monitor["spec"] for monitor in installed("ServiceMonitor", render(MONITORING)))
    assert masters["namespaceSelector"] == {"any": True}
    assert masters["selector"]["matchLabels"]["app.kubernetes.io/component"] == "master"
    assert masters["targetLabels"] == ["aiotest.dev/load-test", "aiotest.dev/run"]
    (endpoint,) = masters["endpoints"]
    assert (endpoint["port"], endpoint["interval"]) == ("metrics", "5s")
    service = only("Service", render(MONITORING))
    assert operator["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert operator["endpoints"][0]["port"] in [port["name"] for port in service["spec"]["ports"]]


def test_what_selects_the_operator_selects_no_other_pod() -> None:
    manifests = render()
    deployment = only("Deployment", manifests)["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    selector = only("Service", manifests)["spec"]["selector"]
    assert selector == deployment["selector"]["matchLabels"]
    assert selector.items() <= labels.items()
    (test,) = (manifest for manifest in manifests if manifest["kind"] == "Pod")
    assert not selector.items() <= test["metadata"]["labels"].items()


def test_images_are_named_by_digest_or_tag_or_the_charts_version() -> None:
    digest = "sha256:" + "0" * 64
    version = tomllib.loads((HOUSE / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"] == version

    def images(*flags: str) -> tuple[str, str | None]:
        manifests = render(*flags)
        container = only("Deployment", manifests)["spec"]["template"]["spec"]["containers"][0]
        return container["image"], flag("runner-image", manifests)

    assert images() == (f"localhost/aiotest-operator:{version}", f"localhost/aiotest-runner:{version}")
    assert images("--set=image.repository=r.example/o,image.tag=dev,runner.image.tag=next") == (
        "r.example/o:dev",
        "localhost/aiotest-runner:next",
    )
    assert images(f"--set=image.tag=dev,image.digest={digest},runner.image.digest={digest}") == (
        f"localhost/aiotest-operator@{digest}",
        f"localhost/aiotest-runner@{digest}",
    )


def test_the_operator_is_told_what_its_pods_ask_for() -> None:
    flags = ["runner-cpu", "runner-memory", "master-cpu", "master-memory", "image-pull-policy"]
    assert [flag(name, render()) for name in flags] == ["1", "1Gi", "500m", "512Mi", "IfNotPresent"]
    changed = render("--set=runner.cpu=2,runner.memory=3Gi,master.cpu=250m,runner.image.pullPolicy=Never")
    assert [flag(name, changed) for name in flags] == ["2", "3Gi", "250m", "512Mi", "Never"]


def test_pull_secrets_of_the_runners_are_handed_to_the_operator() -> None:
    names = "--set=runner.imagePullSecrets[0].name=one,runner.imagePullSecrets[1].name=two"
    container = only("Deployment", render(names))["spec"]["template"]["spec"]["containers"][0]
    given = [argument for argument in container["args"] if argument.startswith("--image-pull-secret=")]
    assert given == ["--image-pull-secret=one", "--image-pull-secret=two"]
    assert flag("image-pull-secret", render()) is None


def test_two_operators_never_run_side_by_side() -> None:
    spec = only("Deployment", render())["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})


def test_the_key_is_random_unless_there_is_one() -> None:
    def mounted(flags: tuple[str, ...]) -> str:
        volume = only("Deployment", render(*flags))["spec"]["template"]["spec"]["volumes"][0]
        return str(volume["secret"]["secretName"])

    secrets = [only("Secret", render(release=release)) for release in ("one", "two")]
    keys = {base64.b64decode(secret["data"]["key"]) for secret in secrets}
    assert len(keys) == 2
    assert {len(key) for key in keys} == {64}
    # A renderer that cannot look into the cluster fails instead of changing the key under a run.
    assert all(secret["immutable"] for secret in secrets)
    assert mounted(()) == only("Secret", render())["metadata"]["name"]
    assert not installed("Secret", render(*PROFILES["least"]))
    assert mounted(PROFILES["least"]) == "ours"


def test_labels_of_the_users_cannot_break_the_selectors() -> None:
    name = r"app\.kubernetes\.io/name"
    manifests = render(MONITORING, f"--set=podLabels.{name}=mine,serviceMonitor.labels.{name}=mine")
    deployment = only("Deployment", manifests)["spec"]
    selector, labels = deployment["selector"]["matchLabels"], deployment["template"]["metadata"]["labels"]
    assert selector.items() <= labels.items()
    monitors = installed("ServiceMonitor", manifests)
    assert {monitor["metadata"]["labels"]["app.kubernetes.io/name"] for monitor in monitors} == {"mine"}


def test_what_is_said_of_the_operators_pod_reaches_it() -> None:
    template = only("Deployment", render(*PROFILES["everything"]))["spec"]["template"]
    metadata, pod = template["metadata"], template["spec"]
    assert (metadata["labels"]["team"], metadata["annotations"]) == ("load", {"why": "because"})
    assert (pod["nodeSelector"], pod["tolerations"]) == ({"pool": "system"}, [{"key": "system"}])
    assert pod["imagePullSecrets"] == [{"name": "registry"}]
    assert "nodeAffinity" in pod["affinity"]
    assert pod["containers"][0]["resources"]["limits"] == {"memory": "1Gi"}
    assert pod["containers"][0]["resources"]["requests"] == {"cpu": "50m", "memory": "64Mi"}


@pytest.mark.parametrize("flags", [(), PROFILES["one-namespace"]], ids=["release", "one-namespace"])
def test_helm_test_is_five_seconds_of_load_and_leaves_nothing(flags: tuple[str, ...]) -> None:
    hooks = [manifest for manifest in render(*flags) if is_hook(manifest)]
    by_weight = sorted(hooks, key=lambda hook: int(hook["metadata"]["annotations"]["helm.sh/hook-weight"]))
    assert [hook["kind"] for hook in by_weight] == [
        "ServiceAccount",
        "Role",
        "RoleBinding",
        "LoadTest",
        "Pod",
    ]
    for hook in hooks:
        policies = hook["metadata"]["annotations"]["helm.sh/hook-delete-policy"].split(",")
        assert set(policies) == {"before-hook-creation", "hook-succeeded"}
    load_test, pod = by_weight[3:]
    assert load_test["spec"]["load"] == {"constant": {"users": 2, "spawnRate": 2, "duration": "5s"}}
    service = only("Service", render(*flags))
    address = f"http://{service['metadata']['name']}.aiotest.svc:{service['spec']['ports'][0]['port']}"
    assert load_test["spec"]["host"] == address
    compile(load_test["spec"]["aiotestfile"]["inline"], "aiotestfile.py", "exec")
    where = load_test["metadata"]["namespace"]
    assert by_weight[1]["metadata"]["namespace"] == where
    assert by_weight[1]["rules"][0]["resourceNames"] == [load_test["metadata"]["name"]]
    (waiter,) = pod["spec"]["containers"]
    assert waiter["args"] == ["wait", f"--namespace={where}", load_test["metadata"]["name"], "--timeout=180"]


def test_the_test_is_a_load_test_that_the_definition_takes_whatever_the_release_is_called() -> None:
    for release in ("a", "1.2", "x" * 53):
        (load_test,) = (manifest for manifest in render(release=release) if manifest["kind"] == "LoadTest")
        assert re.fullmatch(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?", load_test["metadata"]["name"])
        assert not unknown_fields(load_test)


def test_every_object_has_its_labels_and_a_name_that_fits() -> None:
    for release in ("load", "x" * 53):
        for manifest in render(MONITORING, release=release):
            metadata = manifest["metadata"]
            assert metadata["labels"]["app.kubernetes.io/instance"] == release
            assert metadata["labels"]["helm.sh/chart"].startswith("aiotest-operator-")
            limit = 63 if manifest["kind"] in {"Service", "Pod"} else 253
            assert len(metadata["name"]) <= limit, metadata["name"]
