"""Builds Prometheus with the discovery of Kubernetes, and without that of twenty clouds.

Debian's Prometheus has no discovery of Kubernetes at all. Prometheus's own command imports every kind, and
that choice is a package of its source: so it is built from a copy of the source in which that package is
ours. Everything else is pinned as the other programs are, by go.mod and, for what only Prometheus needs, by
prometheus.sum.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from e2e.cluster import layout
from e2e.cluster.shell import ClusterError, run

MODULE = "github.com/prometheus/prometheus"
OURS = layout.GO_MODULE / "prometheus"
# Kubernetes' client of our version wants a context here; Prometheus was written for the one before.
OLD_CALL = "cache.DefaultWatchErrorHandler(r, err)"
NEW_CALL = "cache.DefaultWatchErrorHandler(context.Background(), r, err)"


def build(command: list[str], environment: dict[str, str], into: Path) -> None:
    """Run the `go build` command on it; the program lies in folder `into` then."""
    with tempfile.TemporaryDirectory(prefix="aiotest-prometheus-") as name:
        modules = Path(name, "prometheus.mod")
        source = Path(name, "source")
        shutil.copy(layout.GO_MODULE / "go.mod", modules)
        shutil.copy(OURS / "prometheus.sum", modules.with_suffix(".sum"))
        _copy(source)
        run("go", "mod", "edit", f"-replace={MODULE}={source}", modules)
        whole = [*command, f"-modfile={modules}", "-o", str(into / "prometheus"), f"{MODULE}/cmd/prometheus"]
        if subprocess.run(whole, cwd=layout.GO_MODULE, env=environment, check=False).returncode != 0:
            raise ClusterError("Go could not build Prometheus; what it said is above")


def _copy(source: Path) -> None:
    """The source with our changes. Go's module cache is read-only, and so are plain copies of it."""
    downloaded = run("go", "-C", layout.GO_MODULE, "list", "-m", "-f", "{{.Dir}}", MODULE).strip()
    shutil.copytree(downloaded, source, copy_function=shutil.copyfile)
    for path in (source, *source.rglob("*/")):
        os.chmod(path, 0o755)
    shutil.copy(OURS / "plugins.go", source / "plugins/plugins.go")
    discovery = source / "discovery/kubernetes/kubernetes.go"
    text = discovery.read_text()
    if text.count(OLD_CALL) != 1:
        raise ClusterError(
            f"this version of {MODULE} doesn't need the change that is made here, or another one"
        )
    discovery.write_text(text.replace(OLD_CALL, NEW_CALL))
