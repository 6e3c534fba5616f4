"""etcd, kube-apiserver, kube-controller-manager, kube-scheduler: processes of the host, on our bridge."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from e2e.cluster import certificates, layout
from e2e.cluster.certificates import certificate, key
from e2e.cluster.processes import State, log_file
from e2e.cluster.shell import ClusterError, say, wait_until

# Who is admitted, beside the defaults: nodes write only of themselves, and whoever blocks the deletion of an
# owner must be allowed to (as OpenShift and hardened clusters have it).
ADMISSION = "NodeRestriction,OwnerReferencesPermissionEnforcement"
# Calls of service accounts outside of Kubernetes itself, so that a test can compare them with the RBAC rules.
AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {
            "level": "None",
            "userGroups": ["system:serviceaccounts:kube-system", "system:serviceaccounts:monitoring"],
        },
        {"level": "Metadata", "userGroups": ["system:serviceaccounts"]},
        {"level": "None"},
    ],
}


def start(state: State, programs: Path) -> None:
    """Start the four and wait until the API answers."""
    _credentials()
    _etcd(state)
    _api_server(state, programs)
    kubectl = [str(programs / "kubectl"), f"--kubeconfig={layout.KUBECONFIGS / 'admin'}"]
    wait_until(
        f"the API server answers (see {log_file('kube-apiserver')})",
        90,
        lambda: _going(state) and _succeeds([*kubectl, "get", "--raw=/readyz"]),
    )
    _controllers(state, programs)
    _scheduler(state, programs)


def _credentials() -> None:
    certificates.authority()
    names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc"]
    names.append("kubernetes.default.svc.cluster.local")
    addresses = [layout.HOST_ADDRESS, layout.KUBERNETES_SERVICE]
    certificates.serving("kube-apiserver", addresses, names)
    certificates.client("kubelet-client", "kube-apiserver", "system:masters")
    certificates.client("admin", "admin", "system:masters")
    certificates.kubeconfig("admin")
    for name in ("kube-controller-manager", "kube-scheduler", "kube-proxy"):
        certificates.client(name, f"system:{name}")
        certificates.kubeconfig(name)


def _etcd(state: State) -> None:
    # In memory, and in a mount namespace of its own, so that the memory goes with the process.
    data = layout.STATE / "etcd"
    data.mkdir()
    script = f"mount -t tmpfs -o mode=700 aiotest-etcd {data} && exec etcd " + " ".join(
        [
            f"--data-dir={data}/data",
            f"--listen-client-urls={layout.ETCD_CLIENTS}",
            f"--advertise-client-urls={layout.ETCD_CLIENTS}",
            f"--listen-peer-urls={layout.ETCD_PEERS}",
            f"--initial-advertise-peer-urls={layout.ETCD_PEERS}",
            f"--initial-cluster=default={layout.ETCD_PEERS}",
            "--log-level=warn",
        ]
    )
    state.start("etcd", ["unshare", "--mount", "--propagation=private", "sh", "-c", script])


def _api_server(state: State, programs: Path) -> None:
    audit_policy = layout.STATE / "audit-policy.json"
    audit_policy.write_text(json.dumps(AUDIT_POLICY))
    state.start(
        "kube-apiserver",
        [
            str(programs / "kube-apiserver"),
            f"--etcd-servers={layout.ETCD_CLIENTS}",
            f"--bind-address={layout.HOST_ADDRESS}",
            f"--advertise-address={layout.HOST_ADDRESS}",
            "--secure-port=6443",
            f"--cert-dir={layout.STATE / 'kube-apiserver'}",
            f"--tls-cert-file={certificate('kube-apiserver')}",
            f"--tls-private-key-file={key('kube-apiserver')}",
            f"--client-ca-file={certificate('ca')}",
            f"--kubelet-certificate-authority={certificate('ca')}",
            f"--kubelet-client-certificate={certificate('kubelet-client')}",
            f"--kubelet-client-key={key('kubelet-client')}",
            "--kubelet-preferred-address-types=InternalIP",
            "--authorization-mode=Node,RBAC",
            f"--enable-admission-plugins={ADMISSION}",
            f"--service-cluster-ip-range={layout.SERVICES}",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-account-key-file={key('service-accounts')}",
            f"--service-account-signing-key-file={key('service-accounts')}",
            f"--audit-policy-file={audit_policy}",
            f"--audit-log-path={layout.AUDIT_LOG}",
        ],
    )


def _controllers(state: State, programs: Path) -> None:
    state.start(
        "kube-controller-manager",
        [
            str(programs / "kube-controller-manager"),
            f"--kubeconfig={layout.KUBECONFIGS / 'kube-controller-manager'}",
            f"--bind-address={layout.HOST_ADDRESS}",
            f"--cert-dir={layout.STATE / 'kube-controller-manager'}",
            "--leader-elect=false",
            "--use-service-account-credentials=true",
            f"--service-account-private-key-file={key('service-accounts')}",
            f"--root-ca-file={certificate('ca')}",
        ],
    )


def _scheduler(state: State, programs: Path) -> None:
    state.start(
        "kube-scheduler",
        [
            str(programs / "kube-scheduler"),
            f"--kubeconfig={layout.KUBECONFIGS / 'kube-scheduler'}",
            f"--bind-address={layout.HOST_ADDRESS}",
            f"--cert-dir={layout.STATE / 'kube-scheduler'}",
            "--leader-elect=false",
        ],
    )


def _going(state: State) -> bool:
    """Fails when a process has ended: there is nothing to wait for, then."""
    for name in state.dead():
        tail = "\n".join(log_file(name).read_text(errors="replace").splitlines()[-15:])
        say(f"{log_file(name)} ends with\n{tail}")
        raise ClusterError(f"{name} ended by itself")
    return True


def _succeeds(command: list[str]) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
