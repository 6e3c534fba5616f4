"""The programs of the cluster, built from source by Go and kept for every clone of the repository.

One module (`go/`) pins them all by its go.sum. They are built once for each state of that module and version
of Go.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

from e2e.cluster import layout, prometheus_source
from e2e.cluster.shell import ClusterError, run, say

PROMETHEUS_OPERATOR = "github.com/prometheus-operator/prometheus-operator"
# No C library, no debug information: nobody steps through them, and a tenth of the time is saved.
BUILD = ["go", "build", "-trimpath", "-gcflags=all=-dwarf=false"]


def directory() -> Path:
    """The folder with the built programs; builds them when they aren't there."""
    built = layout.BUILDS / f"go-{_key()}"
    if built.exists():
        return built
    layout.BUILDS.mkdir(parents=True, exist_ok=True)
    with (layout.BUILDS / "go.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not built.exists():
            _build(built)
    return built


def _build(built: Path) -> None:
    say("building Kubernetes, CoreDNS, Helm and Prometheus: once, ten minutes of two cores")
    start = time.monotonic()
    unfinished = built.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    environment = os.environ | {"CGO_ENABLED": "0"}
    build = [*BUILD, "-ldflags", _link_flags()]
    command = [*build, "-o", f"{unfinished}/", "tool", "./coredns"]
    if subprocess.run(command, cwd=layout.GO_MODULE, env=environment, check=False).returncode != 0:
        raise ClusterError("Go could not build the cluster's programs; what it said is above")
    prometheus_source.build(build, environment, unfinished)
    source = run("go", "-C", layout.GO_MODULE, "list", "-m", "-f", "{{.Dir}}", PROMETHEUS_OPERATOR).strip()
    shutil.copytree(Path(source, "example/prometheus-operator-crd"), unfinished / "crds")
    for path in (unfinished / "crds", *(unfinished / "crds").iterdir()):
        path.chmod(0o755 if path.is_dir() else 0o644)  # Go's module cache is read-only
    unfinished.rename(built)
    say(f"built in {time.monotonic() - start:.0f} s, kept in {built}")


def _key() -> str:
    """What the programs depend on."""
    found = hashlib.sha256(run("go", "env", "GOVERSION", "GOARCH").encode())
    for path in sorted(layout.GO_MODULE.rglob("*")):
        if path.is_file():
            found.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()[:16]


def _link_flags() -> str:
    """The versions that the programs say of themselves."""
    kubernetes, helm = _version("k8s.io/kubernetes"), _version("helm.sh/helm/v3")
    major, minor = kubernetes.removeprefix("v").split(".")[:2]
    package = "k8s.io/component-base/version"
    values = {
        f"{package}.gitVersion": kubernetes,
        f"{package}.gitMajor": major,
        f"{package}.gitMinor": minor,
        f"{package}.gitTreeState": "clean",
        "helm.sh/helm/v3/internal/version.version": helm,
    }
    return " ".join(["-s", "-w", *(f"-X {name}={value}" for name, value in values.items())])


def _version(module: str) -> str:
    found = re.search(
        rf"^\s+{re.escape(module)} (v\S+)", (layout.GO_MODULE / "go.mod").read_text(), re.MULTILINE
    )
    if found is None:
        raise ClusterError(f"{layout.GO_MODULE}/go.mod doesn't require {module}")
    return found[1]
