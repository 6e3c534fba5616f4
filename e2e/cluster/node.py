"""One node: containerd, kubelet and kube-proxy in namespaces of their own, under `node_init`.

The node's programs write to many fixed places (/run, /var/lib, /var/log, kernel settings); there they find
mounts of the node's own namespace, so that the host keeps nothing of it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

from e2e.cluster import certificates, layout, network
from e2e.cluster.certificates import certificate, key
from e2e.cluster.processes import State, log_file
from e2e.cluster.shell import wait_until

INIT = Path(__file__).with_name("node_init.py")
# What kubelet would set for the whole machine. It finds these values instead, in files of the node's own.
KERNEL_SETTINGS = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}


def start(state: State, programs: Path, number: int, nodes: int) -> None:
    """Start node `number` of so many; returns when containerd listens, before the node is Ready."""
    directory = layout.node_directory(number)
    directory.mkdir()
    _make_cgroup(number)
    _credentials(number)
    settings = _write_settings(number, programs)
    # The one outside hears no TERM; it waits for the first inside, and takes it along when it is killed.
    command = ["unshare", "--mount", "--propagation=private", "--net", "--pid", "--fork", "--mount-proc"]
    command += ["--kill-child", sys.executable, "-I", str(INIT), str(settings)]
    name = layout.node_name(number)
    outside = state.start(name, command, stdin=subprocess.PIPE)
    children = Path(f"/proc/{outside.pid}/task/{outside.pid}/children")
    wait_until(f"{name} has a first process (see {log_file(name)})", 10, lambda: children.read_text() != "")
    first = int(children.read_text())
    state.note(f"{name} inside", first)
    network.connect(number, first, nodes)
    assert outside.stdin is not None, "it is a pipe"
    outside.stdin.write(b"go\n")
    outside.stdin.close()
    wait_until(
        f"containerd of {name} listens (see {log_file(name)})", 30, layout.containerd_socket(number).exists
    )


def remove_cgroups() -> None:
    """Take the nodes' control groups away, in every hierarchy; their processes have ended."""
    for top in [*layout.CGROUPS.glob(f"*/{layout.CGROUP}"), *layout.CGROUPS.glob(layout.CGROUP)]:
        below = sorted(top.rglob("*/"), key=lambda path: len(path.parts), reverse=True)
        for group in [*below, top]:
            # The kernel lets a group go a moment after its last process.
            wait_until(f"the control group {group} can go", 10, partial(_removed, group))


def _removed(group: Path) -> bool:
    try:
        group.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _make_cgroup(number: int) -> None:
    """kubelet wants its cgroupRoot to be there, in every hierarchy of version 1 or in that of version 2."""
    inside = f"{layout.CGROUP}/{layout.node_name(number)}"
    unified = layout.CGROUPS / "cgroup.controllers"
    if not unified.exists():
        for hierarchy in layout.CGROUPS.iterdir():
            (hierarchy / inside).mkdir(parents=True)
            _inherit_cpuset(hierarchy, number)
        return
    controllers = " ".join(f"+{name}" for name in unified.read_text().split())
    (layout.CGROUPS / inside).mkdir(parents=True)
    for path in (layout.CGROUPS, layout.CGROUPS / layout.CGROUP, layout.CGROUPS / inside):
        (path / "cgroup.subtree_control").write_text(controllers)


def _inherit_cpuset(hierarchy: Path, number: int) -> None:
    """In version 1 a new cpuset is empty, and nothing can run in it."""
    for group in (hierarchy / layout.CGROUP, hierarchy / layout.CGROUP / layout.node_name(number)):
        for name in ("cpuset.cpus", "cpuset.mems"):
            if (group / name).exists():
                (group / name).write_text((group.parent / name).read_text())


def _credentials(number: int) -> None:
    name = layout.node_name(number)
    certificates.client(name, f"system:node:{name}", "system:nodes")
    certificates.kubeconfig(name)
    certificates.serving(f"{name}-serving", [layout.node_address(number)], [name])


def _write_settings(number: int, programs: Path) -> Path:
    """The configuration files of the node's programs; returns that of `node_init`."""
    directory = layout.node_directory(number)
    for path, value in KERNEL_SETTINGS.items():
        file = directory / "kernel" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(value + "\n")
    (directory / "cni").mkdir()
    (directory / "cni/10-pods.conflist").write_text(json.dumps(_pod_network(number), indent=1))
    (directory / "containerd.toml").write_text(_containerd(number))
    (directory / "kubelet.json").write_text(json.dumps(_kubelet(number), indent=1))
    (directory / "kube-proxy.json").write_text(json.dumps(_kube_proxy(number), indent=1))
    # Pods whose DNS policy is Default get this one: there is nobody to ask.
    (directory / "resolv.conf").write_text("")
    settings = directory / "init.json"
    settings.write_text(
        json.dumps(
            {
                "state": str(layout.STATE),
                "directory": str(directory),
                "kernel_settings": sorted(KERNEL_SETTINGS),
                "socket": str(layout.containerd_socket(number)),
                "containerd": ["containerd", "--config", f"{directory}/containerd.toml"],
                "others": [
                    [
                        f"{programs}/kubelet",
                        f"--config={directory}/kubelet.json",
                        f"--kubeconfig={layout.KUBECONFIGS / layout.node_name(number)}",
                        f"--hostname-override={layout.node_name(number)}",
                        f"--node-ip={layout.node_address(number)}",
                        f"--root-dir={directory}/kubelet",
                        f"--cert-dir={directory}/kubelet/pki",
                    ],
                    [f"{programs}/kube-proxy", f"--config={directory}/kube-proxy.json"],
                ],
            },
            indent=1,
        )
    )
    return settings


def _pod_network(number: int) -> dict[str, object]:
    """A cable from each pod to the node, which routes: so every packet passes the node's Service rules."""
    addresses = {
        "type": "host-local",
        "ranges": [[{"subnet": layout.node_pods(number)}]],
        "routes": [{"dst": "0.0.0.0/0"}],
        "dataDir": f"{layout.node_directory(number)}/addresses",
    }
    plugins = [
        {"type": "ptp", "ipMasq": False, "ipam": addresses},
        {"type": "portmap", "capabilities": {"portMappings": True}},
    ]
    return {"cniVersion": "1.0.0", "name": "pods", "plugins": plugins}


def _containerd(number: int) -> str:
    directory = layout.node_directory(number)
    plugins = Path("/usr/lib/cni")
    return f"""\
version = 2
root = "{directory}/containerd"
state = "/run/containerd"
disabled_plugins = [
    "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
    "io.containerd.internal.v1.opt",
]

[grpc]
address = "{layout.containerd_socket(number)}"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "localhost/pause:dev"
# Without CAP_SYS_RESOURCE, as in many a container, nobody may lower an out-of-memory score.
restrict_oom_score_adj = true

[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{plugins if plugins.exists() else "/opt/cni/bin"}"
conf_dir = "{directory}/cni"
"""


def _kubelet(number: int) -> dict[str, object]:
    directory, name = layout.node_directory(number), layout.node_name(number)
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": layout.node_address(number),
        "healthzBindAddress": layout.node_address(number),
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(certificate("ca"))},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(certificate(f"{name}-serving")),
        "tlsPrivateKeyFile": str(key(f"{name}-serving")),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{layout.CGROUP}/{name}",
        "failSwapOn": False,
        "containerRuntimeEndpoint": f"unix://{layout.containerd_socket(number)}",
        "clusterDNS": [layout.DNS_SERVICE],
        "clusterDomain": "cluster.local",
        "resolvConf": f"{directory}/resolv.conf",
        "podLogsDir": f"{directory}/logs",
        "volumePluginDir": f"{directory}/volume-plugins",
        "staticPodPath": "",
        # A changed ConfigMap or Secret is in the pod's volume after this long, instead of a minute.
        "syncFrequency": "10s",
        # The images come from files, once: never collect them, and don't evict pods because the host's disk
        # is full.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
    }


def _kube_proxy(number: int) -> dict[str, object]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "hostnameOverride": layout.node_name(number),
        "bindAddress": layout.node_address(number),
        "healthzBindAddress": f"{layout.node_address(number)}:10256",
        "metricsBindAddress": f"{layout.node_address(number)}:10249",
        "clusterCIDR": layout.PODS,
        "clientConnection": {"kubeconfig": str(layout.KUBECONFIGS / "kube-proxy")},
        # The table of connections belongs to the host; its size is not ours to set.
        "conntrack": {"maxPerCore": 0},
    }
