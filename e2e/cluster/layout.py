"""Where everything lies: addresses, paths, names. Constants only."""

from __future__ import annotations

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]

# The range of 198.18.0.0/15 is reserved for benchmarks (RFC 2544): no machine out there has these addresses.
BRIDGE = "aiotest0"
HOST_ADDRESS = "198.18.0.1"
MACHINES = "198.18.0.0/24"
PODS = "198.18.128.0/17"
SERVICES = "198.19.0.0/16"
KUBERNETES_SERVICE = "198.19.0.1"
DNS_SERVICE = "198.19.0.10"
API_SERVER = f"https://{HOST_ADDRESS}:6443"
ETCD_CLIENTS = "http://127.0.0.1:23790"
ETCD_PEERS = "http://127.0.0.1:23800"
MAX_NODES = 9

# One cluster a machine, so that its traces are in one place, whichever clone of the repository started it.
STATE = Path("/var/lib/aiotest-cluster")
STATE_FILE = STATE / "state.json"
CERTIFICATES = STATE / "certificates"
KUBECONFIGS = STATE / "kubeconfigs"
LOGS = STATE / "logs"
AUDIT_LOG = LOGS / "audit.log"
CGROUPS = Path("/sys/fs/cgroup")
CGROUP = "aiotest-cluster"

KUBECONFIG = REPOSITORY / ".cache/cluster/kubeconfig"
BUILDS = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "aiotest-operator"
GO_MODULE = REPOSITORY / "e2e/cluster/go"
MANIFESTS = REPOSITORY / "e2e/cluster/manifests"


def node_name(number: int) -> str:
    """The name of node `number`, from 1 on."""
    return f"node-{number}"


def node_address(number: int) -> str:
    """The address of the node's own interface on the bridge."""
    return f"198.18.0.{10 + number}"


def node_pods(number: int) -> str:
    """The addresses of the node's pods."""
    return f"198.18.{128 + number}.0/24"


def node_directory(number: int) -> Path:
    """Where the node keeps its containers."""
    return STATE / node_name(number)


def containerd_socket(number: int) -> Path:
    """Where the node's containerd listens."""
    return node_directory(number) / "containerd.sock"
