"""Renders the chart with Helm, without a cluster. Start at `render`."""

import functools
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

HOUSE = Path(__file__).resolve().parent.parent.parent
CHART = HOUSE / "charts/aiotest-operator"
MONITORING = "--api-versions=monitoring.coreos.com/v1"

Manifest = dict[str, Any]


class Strict(yaml.SafeLoader):
    """Refuses a key that is said twice, as API servers do."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Every key once."""
        keys = [self.construct_object(key) for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"a key twice:{node.start_mark}"
        return super().construct_mapping(node, deep)


@functools.cache
def binary() -> str:
    """Helm: $HELM, or the first in PATH, where `make test` puts the one that it built."""
    found = os.environ.get("HELM") or shutil.which("helm")
    assert found, "no Helm 3: neither $HELM nor helm in PATH"
    return found


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Helm with these arguments, whatever its exit code; it never asks a cluster."""
    unreachable = {**os.environ, "KUBECONFIG": os.devnull}
    return subprocess.run([binary(), *arguments], capture_output=True, text=True, env=unreachable)


@functools.cache
def text(*flags: str, release: str = "load", chart: Path = CHART) -> str:
    """Everything that an installation would apply, its hooks included."""
    done = helm("template", release, str(chart), "--namespace=aiotest", "--kube-version=1.34.4", *flags)
    assert done.returncode == 0, done.stderr
    return done.stdout


def render(*flags: str, release: str = "load") -> list[Manifest]:
    """`text`, parsed."""
    return [manifest for manifest in yaml.load_all(text(*flags, release=release), Strict) if manifest]


def refusal(*flags: str) -> str:
    """What Helm says to values that it doesn't take."""
    done = helm("template", "load", str(CHART), "--kube-version=1.34.4", *flags)
    assert done.returncode != 0, f"the chart takes {' '.join(flags)}"
    return done.stderr


def is_hook(manifest: Manifest) -> bool:
    """Whether only `helm test` makes it."""
    return "helm.sh/hook" in manifest["metadata"].get("annotations", {})


def installed(kind: str, manifests: list[Manifest]) -> list[Manifest]:
    """Those of this kind that an installation leaves behind."""
    return [manifest for manifest in manifests if manifest["kind"] == kind and not is_hook(manifest)]


def only(kind: str, manifests: list[Manifest]) -> Manifest:
    """The one of this kind that an installation leaves behind."""
    (manifest,) = installed(kind, manifests)
    return manifest


def pod_specs(manifests: list[Manifest]) -> list[Manifest]:
    """The pods that the manifests would start."""
    templates = [manifest["spec"]["template"] for manifest in manifests if manifest["kind"] == "Deployment"]
    return [pod["spec"] for pod in [*templates, *(m for m in manifests if m["kind"] == "Pod")]]


def flag(name: str, manifests: list[Manifest]) -> str | None:
    """What the operator's command line says for a flag."""
    container = only("Deployment", manifests)["spec"]["template"]["spec"]["containers"][0]
    values = [
        argument.partition("=")[2] for argument in container["args"] if argument.startswith(f"--{name}=")
    ]
    return values[0] if values else None


def unknown_fields(load_test: Manifest) -> list[str]:
    """The fields of a load test's spec that the definition doesn't have."""
    definition = yaml.safe_load((HOUSE / "crds/loadtests.aiotest.dev.yaml").read_text())
    (version,) = definition["spec"]["versions"]
    known = version["schema"]["openAPIV3Schema"]["properties"]["spec"]

    def unknown(value: Any, schema: Manifest, path: str) -> list[str]:
        if isinstance(value, list):
            return [name for item in value for name in unknown(item, schema["items"], path)]
        if not isinstance(value, dict):
            return []
        fields = schema["properties"]
        found = [f"{path}.{name}" for name in value if name not in fields]
        for name in value.keys() & fields.keys():
            found += unknown(value[name], fields[name], f"{path}.{name}")
        return found

    return unknown(load_test["spec"], known, "spec")


def leaves(values: Manifest, path: str = "") -> dict[str, Any]:
    """Every value that can be set, by its dotted path; an empty mapping or a list is one value."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        here = f"{path}.{name}" if path else name
        if isinstance(value, dict) and value:
            found |= leaves(value, here)
        else:
            found[here] = value
    return found


def default_values() -> Manifest:
    """values.yaml."""
    values: Manifest = yaml.safe_load((CHART / "values.yaml").read_text())
    return values


def template_sources() -> str:
    """All templates, as written."""
    return "\n".join(path.read_text() for path in sorted((CHART / "templates").rglob("*")) if path.is_file())


def values_used() -> set[str]:
    """The dotted paths that the templates read."""
    return set(re.findall(r"\.Values\.([A-Za-z.]+[A-Za-z])", template_sources()))
