"""`up` and `down`: bring the cluster up, and take it away without a trace."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from e2e.cluster import addons, binaries, control_plane, images, layout, network, node
from e2e.cluster.processes import State, end
from e2e.cluster.shell import ClusterError, say


def up(nodes: int) -> None:
    """Bring up a cluster of so many nodes, or find it up; a broken one is taken away first."""
    if not 1 <= nodes <= layout.MAX_NODES:
        raise ClusterError(f"NODES must be from 1 to {layout.MAX_NODES}, not {nodes}")
    if os.geteuid() != 0:
        raise ClusterError("only root can bring up a cluster here; or set KUBECONFIG to use one that exists")
    state = State.read()
    if state is not None and state.complete and not state.dead():
        if state.nodes != nodes:
            raise ClusterError(f"a cluster of {state.nodes} is up; `make cluster-down` first")
        _write_kubeconfig()
        say(f"the cluster is up; export KUBECONFIG={layout.KUBECONFIG}")
        return
    programs = binaries.directory()
    archives = [image.archive() for image in images.of_cluster(programs)]
    if state is not None or layout.STATE.exists():
        say("taking away what is left of an earlier cluster")
        down()
    say(f"starting Kubernetes with {nodes} node(s): some 40 seconds")
    state = State(nodes)
    state.write()
    network.create_bridge()
    control_plane.start(state, programs)
    say("the API server answers; starting the node(s)")
    for number in range(1, nodes + 1):
        node.start(state, programs, number, nodes)
    images.load(archives, _sockets(state))
    addons.apply(programs)
    addons.wait(programs)
    state.complete = True
    state.write()
    _write_kubeconfig()
    say(f"the cluster is up; export KUBECONFIG={layout.KUBECONFIG}")


def down() -> None:
    """End every process that `up` wrote down, and take away links, control groups and files."""
    state = State.read()
    if state is not None:
        # The nodes first: each ends everything that runs in it. The API server would wait for their watches.
        nodes = [process for process in state.processes if process.name.startswith("node-")]
        end(nodes)
        end([process for process in state.processes if process not in nodes])
        say("its processes have ended")
    network.remove()
    node.remove_cgroups()
    if layout.STATE.exists():
        shutil.rmtree(layout.STATE)
    layout.KUBECONFIG.unlink(missing_ok=True)
    say("no cluster is left")


def load(archives: list[Path]) -> None:
    """Bring images to every node of the running cluster."""
    images.load(archives, _sockets(running()))


def running() -> State:
    """The cluster of this machine, which must be up."""
    state = State.read()
    if state is None or not state.complete:
        raise ClusterError("no cluster is up; `make cluster` brings one up")
    if dead := state.dead():
        raise ClusterError(
            f"{', '.join(dead)} ended by itself, see {layout.LOGS}; `make cluster` starts afresh"
        )
    return state


def _sockets(state: State) -> list[Path]:
    return [layout.containerd_socket(number) for number in range(1, state.nodes + 1)]


def _write_kubeconfig() -> None:
    layout.KUBECONFIG.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(layout.KUBECONFIGS / "admin", layout.KUBECONFIG)
    layout.KUBECONFIG.chmod(0o600)
    # The programs beside it, for people: .cache/cluster/bin/kubectl, helm.
    bin_directory = layout.KUBECONFIG.with_name("bin")
    bin_directory.mkdir(exist_ok=True)
    for name in ("kubectl", "helm"):
        link = bin_directory / name
        link.unlink(missing_ok=True)
        link.symlink_to(binaries.directory() / name)
